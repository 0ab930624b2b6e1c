"""The pages of one's account look like the others, are linked, and say what is wrong beside the field."""

import re

from tests.fixtures import PASSWORD

CHANGE = "/accounts/password/change/"


def tag_of(text: str, field_id: str) -> str:
    found = re.search(rf'<input[^>]*\bid="{field_id}"[^>]*>', text)
    assert found, f"no field {field_id}"
    return found[0]


def test_every_page_leads_to_ones_account(as_, alice):
    assert f'href="{CHANGE}"' in as_(alice).get("/").content.decode()
    page = as_(alice).get(CHANGE).content.decode()
    assert 'href="/accounts/2fa/"' in page
    assert 'class="nav-link active" href="/accounts/password/change/"' in page
    assert (
        'class="nav-link active" href="/accounts/2fa/"' in as_(alice).get("/accounts/2fa/").content.decode()
    )


def test_fields_are_dressed_as_everywhere(as_, alice):
    page = as_(alice).get(CHANGE).content.decode()
    assert 'class="form-control"' in tag_of(page, "id_oldpassword")
    assert 'class="form-check-input"' in tag_of(page, "id_revoke_tokens")


def test_a_wrong_password_is_said_beside_its_field(as_, alice):
    typed = {"oldpassword": "wrong", "password1": PASSWORD + "2", "password2": PASSWORD + "2"}
    page = as_(alice).post(CHANGE, typed).content.decode()
    assert "is-invalid" in tag_of(page, "id_oldpassword")
    assert "is-invalid" not in tag_of(page, "id_password1")
    assert re.search(r'id="id_oldpassword_error"[^>]*>', page)


def test_the_code_for_a_camera_stands_on_white_in_every_theme(as_, alice, client):
    client.post("/accounts/login/", {"login": "alice", "password": PASSWORD})
    client.post("/accounts/reauthenticate/", {"password": PASSWORD})
    page = client.get("/accounts/2fa/totp/activate/").content.decode()
    assert re.search(r'<img class="bg-white[^"]*" src="data:image/svg', page)


def test_a_disabled_account_is_told_whom_to_ask(client, db):
    page = client.get("/accounts/inactive/").content.decode()
    assert "This account is switched off" in page
    assert 'href="/accounts/login/"' in page

"""Addresses of one's account: what would need a mail server is not there, and nothing ends in a 500."""

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.totp.internal.auth import hotp_value, yield_hotp_counters_from_time
from django.test import Client

from webxen.accounts.models import User

PASSWORD = "a-right-pass-phrase-7"
NEEDS_MAIL = (
    "signup/", "email/", "confirm-email/", "confirm-email/abc/", "password/reset/", "password/reset/done/",
    "password/reset/key/1-set-password/", "password/reset/key/done/", "login/code/confirm/", "",
)  # fmt: skip


@pytest.fixture
def alice_herself(alice: User) -> Client:
    """alice, just signed in with her password."""
    alice.set_password(PASSWORD)
    alice.email = "alice@example.org"
    alice.save()
    EmailAddress.objects.create(user=alice, email=alice.email, verified=False, primary=True)
    client = Client()
    assert client.post("/accounts/login/", {"login": "alice", "password": PASSWORD}).status_code == 302
    return client


@pytest.mark.parametrize("path", NEEDS_MAIL)
def test_what_needs_mail_is_not_there(path: str, alice_herself: Client) -> None:
    for client in (Client(), alice_herself):
        assert client.get(f"/accounts/{path}").status_code == 404
        assert client.post(f"/accounts/{path}", {"email": "alice@example.org"}).status_code == 404


@pytest.mark.parametrize(
    "path", ["logout/", "inactive/", "reauthenticate/", "password/change/", "2fa/", "2fa/totp/activate/"]
)
def test_the_others_answer(path: str, alice_herself: Client) -> None:
    assert alice_herself.get(f"/accounts/{path}").status_code in (200, 302)
    assert Client().get(f"/accounts/{path}").status_code in (200, 302)


def test_a_password_is_changed_without_mail(alice_herself: Client, alice: User) -> None:
    form = {"oldpassword": PASSWORD, "password1": "another-phrase-8", "password2": "another-phrase-8"}
    assert alice_herself.post("/accounts/password/change/", form).status_code == 302
    alice.refresh_from_db()
    assert alice.check_password("another-phrase-8")


def test_a_second_factor_is_switched_on_without_mail(alice_herself: Client) -> None:
    alice_herself.post("/accounts/reauthenticate/", {"password": PASSWORD})
    page = alice_herself.get("/accounts/2fa/totp/activate/")
    secret = page.context["form"].secret
    code = hotp_value(secret, next(iter(yield_hotp_counters_from_time())))
    answer = alice_herself.post("/accounts/2fa/totp/activate/", {"code": f"{code:06d}"})
    assert answer.status_code == 302
    assert "deactivate" in alice_herself.get("/accounts/2fa/").text.lower()

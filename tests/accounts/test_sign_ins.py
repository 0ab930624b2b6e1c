"""What the audit says of signing in, and which session still opens something."""

from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal import auth as totp
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.test import Client

from tests.fixtures import PASSWORD
from webxen.accounts import operations, sessions, sign_ins
from webxen.accounts.models import ApiToken, User
from webxen.core.models import AuditEntry
from webxen.web.templatetags.screens import who

ADDRESS = "192.0.2.7"
NEW = "an altogether different phrase"


@pytest.fixture(autouse=True)
def fresh_limits(db: None) -> None:
    cache.clear()


@pytest.fixture
def browser() -> Client:
    return Client(REMOTE_ADDR=ADDRESS)


def sign_in(browser: Client, name: str, password: str = PASSWORD) -> Any:
    return browser.post("/accounts/login/", {"login": name, "password": password})


def lines(*actions: str) -> list[AuditEntry]:
    found = AuditEntry.objects.order_by("id")
    return list(found.filter(action__in=actions) if actions else found)


class TestAudit:
    def test_has_signing_in_and_out_with_address_and_request(self, browser: Client, alice: User) -> None:
        answer = sign_in(browser, "alice")
        browser.post("/accounts/logout/")
        came, went = lines("SIGN_IN", "SIGN_OUT")
        assert (came.action, came.actor, came.address) == ("SIGN_IN", alice, ADDRESS)
        assert came.request_id == answer["X-Request-Id"]
        assert (went.action, went.actor, went.address) == ("SIGN_OUT", alice, ADDRESS)

    def test_has_failed_tries_of_those_who_are_there_and_nobodys_password(
        self, browser: Client, alice: User
    ) -> None:
        sign_in(browser, "alice", "wrong")
        sign_in(browser, "hunter2-typed-into-the-wrong-field")
        known, unknown = lines("SIGN_IN_FAILED")
        assert (known.actor, known.target_name, known.target_id) == (None, "alice", str(alice.pk))
        assert known.address == ADDRESS
        assert (unknown.target_name, unknown.target_id) == ("", "")
        assert "hunter2" not in str(list(AuditEntry.objects.values()))
        assert not lines("SIGN_IN")

    def test_has_that_tries_are_no_longer_looked_at(self, browser: Client, alice: User) -> None:
        while sign_in(browser, "alice", "wrong").status_code != 429:
            pass
        for _ in range(3):
            assert sign_in(browser, "alice").status_code == 429
        assert len(lines("SIGN_IN_FAILED")) == 5
        (line,) = lines("SIGN_IN_REFUSED")
        assert (line.actor, line.target_name, line.address) == (None, "alice", ADDRESS)

    def test_cannot_be_filled_by_strangers(
        self, alice: User, now: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sign_ins, "MOST_FAILURES", 5)
        for _ in range(20):
            sign_ins.note_failure(username="alice", now=now)
        assert len(lines("SIGN_IN_FAILED")) == 5
        sign_ins.note_failure(username="alice", now=now + sign_ins.FAILURES_WITHIN)
        assert len(lines("SIGN_IN_FAILED")) == 6

    @pytest.mark.parametrize("name", ["a\0b", "x" * 5000, "ﬁ", "\ud800"])
    def test_of_odd_names_breaks_nothing(self, alice: User, now: Any, name: str) -> None:
        sign_ins.note_failure(username=name.encode("utf-8", "replace").decode(), now=now)
        assert lines("SIGN_IN_FAILED")

    def test_has_a_changed_password_and_a_wrong_current_one(self, browser: Client, alice: User) -> None:
        sign_in(browser, "alice")
        change_password(browser, old="wrong")
        change_password(browser)
        wrong, changed = lines("WRONG_PASSWORD", "CHANGE_PASSWORD")
        assert (wrong.action, changed.action) == ("WRONG_PASSWORD", "CHANGE_PASSWORD")
        assert (changed.actor, changed.address) == (alice, ADDRESS)

    def test_has_a_password_given_on_the_portals_own_machine(
        self, browser: Client, alice: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sign_in(browser, "alice")
        typed = iter([NEW, "something else", "12345", "12345", NEW, NEW])
        monkeypatch.setattr("getpass.getpass", lambda _prompt: next(typed))
        call_command("changepassword", "alice")
        (changed,) = lines("CHANGE_PASSWORD")
        assert (changed.actor, changed.target_name, changed.target_id) == (None, "alice", str(alice.pk))
        assert who(changed) == "command line"
        assert sign_in(Client(), "alice", NEW).status_code == 302
        assert browser.get("/", follow=True).context["user"].is_anonymous

    @pytest.mark.parametrize("typed", [[""], ["123", "123"] * 3, [NEW, "another"] * 3])
    def test_has_no_password_that_was_not_given(
        self, alice: User, typed: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        words = iter(typed)
        monkeypatch.setattr("getpass.getpass", lambda _prompt: next(words))
        with pytest.raises(CommandError, match="same password as before"):
            call_command("changepassword", "alice")
        with pytest.raises(CommandError, match="no account nobody"):
            call_command("changepassword", "nobody")
        alice.refresh_from_db()
        assert alice.check_password(PASSWORD)
        assert not lines("CHANGE_PASSWORD")

    def test_has_a_second_factor_added_failed_and_removed(
        self, browser: Client, alice: User, django_capture_on_commit_callbacks: Any
    ) -> None:
        sign_in(browser, "alice")
        browser.post("/accounts/reauthenticate/", {"password": PASSWORD})
        page = browser.get("/accounts/2fa/totp/activate/")
        secret = page.context["form"].secret
        code = totp.format_hotp_value(totp.hotp_value(secret, next(totp.yield_hotp_counters_from_time())))
        with django_capture_on_commit_callbacks(execute=True):
            browser.post("/accounts/2fa/totp/activate/", {"code": code})
        assert Authenticator.objects.filter(user=alice).exists()
        other = Client(REMOTE_ADDR="192.0.2.8")
        sign_in(other, "alice")
        other.post("/accounts/2fa/authenticate/", {"code": "000000"})
        browser.post("/accounts/2fa/totp/deactivate/")
        assert [line.action for line in lines("ENABLE_2FA", "SIGN_IN_FAILED", "DISABLE_2FA")] == [
            "ENABLE_2FA",
            "SIGN_IN_FAILED",
            "DISABLE_2FA",
        ]
        assert lines("SIGN_IN_FAILED")[0].detail == "Wrong second factor."
        assert len(lines("SIGN_IN")) == 1


def change_password(browser: Client, old: str = PASSWORD, **more: str) -> Any:
    fields = {"oldpassword": old, "password1": NEW, "password2": NEW, **more}
    return browser.post("/accounts/password/change/", fields)


class TestChangedPassword:
    @pytest.mark.parametrize(("ticked", "left"), [({}, 1), ({"revoke_tokens": "on"}, 0)])
    def test_revokes_tokens_where_that_is_asked_for(
        self, browser: Client, alice: User, now: Any, ticked: dict[str, str], left: int
    ) -> None:
        operations.create_token(user=alice, name="ci", expires_at=None, now=now)
        sign_in(browser, "alice")
        assert 'name="revoke_tokens"' in browser.get("/accounts/password/change/").content.decode()
        change_password(browser, **ticked)
        assert ApiToken.objects.count() == left

    def test_leaves_its_own_session_and_ends_the_others(self, browser: Client, alice: User) -> None:
        other = Client()
        for one in (browser, other):
            sign_in(one, "alice")
        mine, theirs = browser.session.session_key, other.session.session_key
        assert sessions.person_of(session_key=theirs) == alice
        change_password(browser)
        assert sessions.person_of(session_key=browser.session.session_key) == alice
        assert sessions.person_of(session_key=theirs) is None
        assert mine


class TestSession:
    def test_of_one_who_may_no_longer_sign_in_is_nobodys(self, browser: Client, alice: User) -> None:
        sign_in(browser, "alice")
        key = browser.session.session_key
        User.objects.filter(pk=alice.pk).update(is_active=False)
        assert sessions.person_of(session_key=key) is None

    def test_that_ended_is_nobodys(self, browser: Client, alice: User) -> None:
        sign_in(browser, "alice")
        key = browser.session.session_key
        browser.post("/accounts/logout/")
        assert sessions.person_of(session_key=key) is None
        assert sessions.person_of(session_key="") is None

"""Hosts, wrong turns, sign-in, languages, and what stands round every page."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.test import Client, RequestFactory
from django.utils.html import escape

from tests.fixtures import NOW, PASSWORD, observe, public_pem
from webxen.accounts.models import User
from webxen.enrolment import joining
from webxen.inventory.facts import ORDER, in_order
from webxen.inventory.models import Host
from webxen.web import error_pages
from worker.contract import membership

Browser = Callable[[User], Client]


class TestHostPage:
    def test_prints_the_facts_in_the_order_of_xl_info_whatever_the_database_did_to_it(
        self, as_: Browser, dana: User, xen1: Any
    ) -> None:
        answer = as_(dana).get("/hosts/xen1/")
        shown = [name for name, _ in answer.context["facts"]]
        assert shown == [name for name in ORDER if name in shown]
        assert "6.12.57+deb13-amd64" in answer.content.decode()

    def test_keeps_lines_it_does_not_know(self) -> None:
        facts = in_order({"brand_new": "1", "xend_config_format": "4", "host": "xen1"})
        assert facts == [("host", "xen1"), ("xend_config_format", "4"), ("brand_new", "1")]

    def test_does_not_take_an_unread_list_for_an_empty_one(self, as_: Browser, dana: User, xen1: Any) -> None:
        observe(xen1, domains=None)
        assert (
            "what is running there is not known at the moment"
            in as_(dana).get("/hosts/xen1/").content.decode()
        )

    def test_silence_is_told_to_staff_on_every_page_and_to_nobody_else(
        self, as_: Browser, dana: User, alice: User, xen1: Any
    ) -> None:
        with time_machine.travel(NOW + timedelta(minutes=5)):
            assert "The host xen1 is not responding." in as_(dana).get("/images/").content.decode()
            # she has no machine there
            assert "xen1" not in as_(alice).get("/images/").content.decode()


class TestWrongTurns:
    def test_404_says_what_to_do(self, as_: Browser, alice: User) -> None:
        answer = as_(alice).get("/nowhere/")
        assert answer.status_code == 404
        assert "Page not found" in answer.content.decode()

    def test_500_gives_a_reference_that_stands_in_the_log(self, caplog: pytest.LogCaptureFixture) -> None:
        answer = error_pages.server_error(RequestFactory().get("/broken/"))
        reference = caplog.records[-1].getMessage().rsplit(" ", 1)[1]
        assert answer.status_code == 500
        assert reference in answer.content.decode()


class TestSignIn:
    def test_opens_the_page_one_wanted(self, alice: User) -> None:
        browser = Client()
        answer = browser.get("/machines/")
        answer = browser.post(
            answer["Location"], {"login": "alice", "password": PASSWORD, "next": "/machines/"}
        )
        assert answer["Location"] == "/machines/"

    def test_does_not_say_which_half_was_wrong(self, alice: User) -> None:
        said = []
        for name in ("alice", "nobody"):
            answer = Client().post("/accounts/login/", {"login": name, "password": "wrong"})
            said.append(answer.context["form"].non_field_errors())
        assert said[0] == said[1]
        assert said[0]

    def test_needs_a_click_to_sign_out(self, as_: Browser, alice: User) -> None:
        browser = as_(alice)
        assert browser.get("/accounts/logout/").status_code == 200
        assert browser.get("/").status_code == 200
        browser.post("/accounts/logout/")
        assert browser.get("/").status_code == 302

    def test_nobody_signs_up_by_himself(self, db: None) -> None:
        answer = Client().post(
            "/accounts/signup/", {"username": "eve", "password1": PASSWORD, "password2": PASSWORD}
        )
        assert answer.status_code == 404
        assert not User.objects.exists()


class TestLanguage:
    def test_follows_the_browser_and_the_choice(self, as_: Browser, alice: User) -> None:
        browser = as_(alice)
        assert 'lang="ru"' in browser.get("/", headers={"Accept-Language": "ru"}).content.decode()
        browser.post("/i18n/setlang/", {"language": "ru", "next": "/"})
        assert '<html lang="ru">' in browser.get("/").content.decode()


class TestLettingAHostIn:
    @pytest.fixture
    def waiting(self, dana: User, settings: Any) -> Host:
        """xen7 has shown its key."""
        settings.WEBXEN_BROKER_PUBLIC_URL = "rediss://broker.example.org:6380/0"
        secret = joining.make_token(staff=dana, name="xen7", is_rejoin=False, now=NOW)[1]
        key = Ed25519PrivateKey.generate()
        words = membership.words_to_join(token=secret, public_key=public_pem(key))
        return joining.join(
            untrusted_token=secret, untrusted_key=public_pem(key), untrusted_proof=key.sign(words), now=NOW
        ).host

    def test_gives_the_command_once(self, as_: Browser, dana: User) -> None:
        browser = as_(dana)
        answer = browser.post("/add-host/", {"name": "xen7"})
        (command,) = re.findall(r"<code[^>]*>(webxen-worker join [^<]*)</code>", answer.content.decode())
        (token,) = re.findall(r"<code[^>]*>(wxj_[^<]{43})</code>", answer.content.decode())
        assert command == "webxen-worker join http://testserver"
        assert "no-store" in answer["Cache-Control"]
        assert token not in browser.get("/add-host/").content.decode()
        assert "at most 63 characters" in browser.post("/add-host/", {"name": "Xen 7"}).content.decode()

    def test_says_that_a_host_is_there_already(self, as_: Browser, dana: User, xen1: Any) -> None:
        browser = as_(dana)
        assert "has already joined" in browser.post("/add-host/", {"name": "xen1"}).content.decode()
        again = browser.post("/add-host/", {"name": "xen1", "is_rejoin": "on"})
        assert "wxj_" in again.content.decode()

    def test_shows_the_fingerprint_and_accepts_that_key(
        self, as_: Browser, dana: User, waiting: Host
    ) -> None:
        browser, fingerprint = as_(dana), membership.fingerprint(waiting.public_key)
        assert escape(fingerprint) in browser.get("/hosts/").content.decode()
        assert escape(fingerprint) in browser.get("/hosts/xen7/").content.decode()
        browser.post("/hosts/xen7/accept/", {"fingerprint": "SHA256:of-another"})
        assert Host.objects.get(name="xen7").state == Host.State.NEW
        browser.post("/hosts/xen7/accept/", {"fingerprint": fingerprint})
        assert Host.objects.get(name="xen7").state == Host.State.ACTIVE
        assert "Is this the host you added" not in browser.get("/hosts/xen7/").content.decode()

    def test_turns_it_away(self, as_: Browser, dana: User, waiting: Host) -> None:
        browser = as_(dana)
        browser.post("/hosts/xen7/reject/")
        assert browser.get("/hosts/xen7/").status_code == 404

    def test_takes_a_host_out_that_has_no_machines(
        self, as_: Browser, dana: User, xen1: Any, web1: Any
    ) -> None:
        browser = as_(dana)
        assert "/remove/" not in browser.get("/hosts/xen1/").content.decode()
        answer = browser.post("/hosts/xen1/remove/", follow=True)
        assert "1 machine is on this host" in answer.content.decode()
        web1.state = "DELETED"
        web1.save()
        browser.post("/hosts/xen1/remove/")
        assert browser.get("/hosts/xen1/").status_code == 404

    def test_speaks_russian(self, as_: Browser, dana: User, waiting: Host) -> None:
        browser = as_(dana)
        browser.cookies["django_language"] = "ru"
        assert "Добавить узел" in browser.get("/hosts/").content.decode()
        assert "Подтвердить" in browser.get("/hosts/xen7/").content.decode()

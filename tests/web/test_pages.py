"""Hosts, wrong turns, sign-in, languages, and what stands round every page."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client, RequestFactory

from tests.people import NOW, PASSWORD, observe
from webxen.accounts.models import User
from webxen.inventory.facts import ORDER, in_order
from webxen.web import wrong_turns

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
        assert "what runs there is not known just now" in as_(dana).get("/hosts/xen1/").content.decode()

    def test_silence_is_told_to_staff_on_every_page_and_to_nobody_else(
        self, as_: Browser, dana: User, alice: User, xen1: Any
    ) -> None:
        with time_machine.travel(NOW + timedelta(minutes=5)):
            assert "The host xen1 says nothing." in as_(dana).get("/images/").content.decode()
            assert "says nothing" not in as_(alice).get("/images/").content.decode()


class TestWrongTurns:
    def test_404_says_what_to_do(self, as_: Browser, alice: User) -> None:
        answer = as_(alice).get("/nowhere/")
        assert answer.status_code == 404
        assert "There is no such page" in answer.content.decode()

    def test_500_gives_a_reference_that_stands_in_the_log(self, caplog: pytest.LogCaptureFixture) -> None:
        answer = wrong_turns.server_error(RequestFactory().get("/broken/"))
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
        assert answer.status_code == 200
        assert not User.objects.exists()


class TestLanguage:
    def test_follows_the_browser_and_the_choice(self, as_: Browser, alice: User) -> None:
        browser = as_(alice)
        assert 'lang="ru"' in browser.get("/", headers={"Accept-Language": "ru"}).content.decode()
        browser.post("/i18n/setlang/", {"language": "ru", "next": "/"})
        assert '<html lang="ru">' in browser.get("/").content.decode()

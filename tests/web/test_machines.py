"""What people see of machines and do to them by a click."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from tests.fixtures import report
from webxen.accounts.models import User
from webxen.jobs.models import Job
from webxen.machines.models import Machine

Browser = Callable[[User], Client]


class TestMachinesList:
    def test_shows_a_colleagues_machine_and_hides_a_strangers(
        self, as_: Browser, web1: Machine, bob: User, charlie: User, elsewhere: Any
    ) -> None:
        assert "web1" in as_(bob).get("/machines/").content.decode()
        assert "web1" not in as_(charlie).get("/machines/").content.decode()

    def test_filters_and_says_so_when_nothing_matches(self, as_: Browser, web1: Machine, alice: User) -> None:
        browser = as_(alice)
        assert "web1" in browser.get("/machines/?q=web&power=RUNNING&sort=name").content.decode()
        assert "No results" in browser.get("/machines/?q=nothing").content.decode()
        assert "web1" in browser.get("/machines/?q=10.0.2.1").content.decode()

    @pytest.mark.parametrize(
        "query", ["q=%01", "power=x&state=y&sort=password&page=-1", "page=99999999999999999999"]
    )
    def test_shrugs_off_nonsense(self, as_: Browser, web1: Machine, alice: User, query: str) -> None:
        assert as_(alice).get(f"/machines/?{query}").status_code == 200

    def test_asks_the_database_as_often_for_many_machines_as_for_two(
        self, as_: Browser, make_machine: Any, alice: User, django_assert_max_num_queries: Any
    ) -> None:
        for number in range(6):
            make_machine(f"web{number}")
        browser = as_(alice)
        with django_assert_max_num_queries(17):
            browser.get("/machines/")


class TestMachinePage:
    def test_offers_what_is_allowed_and_says_why_the_rest_is_not(
        self, as_: Browser, web1: Machine, alice: User
    ) -> None:
        answer = as_(alice).get(f"/machines/{web1.id}/")
        offers = {offer.button.action: offer.why_not for offer in answer.context["offers"]}
        assert offers["shutdown"] == ""
        assert offers["start"] == "The machine is running."
        assert "The machine is running." in answer.content.decode()

    def test_shows_the_open_job_with_its_steps(
        self, as_: Browser, order_machine: Callable[..., Job], alice: User
    ) -> None:
        job = order_machine("fresh")
        report(job, "STARTED")
        report(job, "STEP", step="DISK", progress=20)
        report(job, "STEP", step="SEED", progress=30)
        answer = as_(alice).get(f"/machines/{job.machine_id}/")
        states = {step.code: step.state for step in answer.context["steps"]}
        assert states["TEMPLATE"] == "unheard"
        assert states["DISK"] == "done"
        assert states["SEED"] == "now"
        assert states["LOGIN"] == "todo"
        assert 'value="30" max="100"' in answer.content.decode()

    def test_shows_a_failure_with_its_sentence_and_the_console_as_text(
        self, as_: Browser, order_machine: Callable[..., Job], alice: User
    ) -> None:
        job = order_machine("fresh")
        report(job, "STARTED")
        report(
            job,
            "FAILED",
            step="KERNEL",
            error_code="NO_LOGIN_PROMPT",
            error_message="No login prompt came.",
            console_tail="<script>alert(1)</script> panic",
        )
        text = as_(alice).get(f"/machines/{job.machine_id}/").content.decode()
        assert "No login prompt came." in text
        assert "&lt;script&gt;alert(1)&lt;/script&gt; panic" in text
        assert "<script>alert(1)" not in text

    def test_lives_by_parts(self, as_: Browser, web1: Machine, alice: User) -> None:
        browser = as_(alice)
        assert 'id="machine-head"' in browser.get(f"/machines/{web1.id}/live/?part=head").content.decode()
        assert (
            'id="machine-overview"'
            in browser.get(f"/machines/{web1.id}/live/?part=overview").content.decode()
        )
        assert browser.get(f"/machines/{web1.id}/live/?part=secrets").status_code == 404


class TestClicks:
    def test_orders_one_job_and_goes_back_to_the_page(self, as_: Browser, web1: Machine, alice: User) -> None:
        answer = as_(alice).post(f"/machines/{web1.id}/actions/shutdown/")
        assert answer.status_code == 302
        assert answer["Location"] == f"/machines/{web1.id}/"
        assert web1.jobs.filter(kind="SHUTDOWN", status="QUEUED").count() == 1

    def test_a_second_click_says_that_a_job_is_open(self, as_: Browser, web1: Machine, alice: User) -> None:
        browser = as_(alice)
        browser.post(f"/machines/{web1.id}/actions/shutdown/")
        where = {"HTTP_REFERER": f"http://testserver/machines/{web1.id}/"}
        answer = browser.post(f"/machines/{web1.id}/actions/reboot/", follow=True, **where)
        assert "A job is in progress for web1: shutdown." in answer.content.decode()
        assert web1.jobs.filter(status="QUEUED").count() == 1

    def test_never_goes_to_somebody_elses_site(self, as_: Browser, web1: Machine, alice: User) -> None:
        answer = as_(alice).post(
            f"/machines/{web1.id}/actions/shutdown/", HTTP_REFERER="https://evil.example/"
        )
        assert answer["Location"] == f"/machines/{web1.id}/"

    @pytest.mark.parametrize("action", ["delete", "explode", "edit"])
    def test_knows_no_other_action(self, as_: Browser, web1: Machine, alice: User, action: str) -> None:
        assert as_(alice).post(f"/machines/{web1.id}/actions/{action}/").status_code == 404

    def test_is_refused_to_a_stranger(self, as_: Browser, web1: Machine, charlie: User) -> None:
        assert as_(charlie).post(f"/machines/{web1.id}/actions/poweroff/").status_code == 404
        assert not web1.jobs.filter(kind="POWEROFF").exists()

    def test_needs_the_token_of_our_own_page(self, web1: Machine, alice: User) -> None:
        browser = Client(enforce_csrf_checks=True)
        browser.force_login(alice)
        answer = browser.post(f"/machines/{web1.id}/actions/poweroff/")
        assert answer.status_code == 403
        assert "This form has expired" in answer.content.decode()
        assert not web1.jobs.filter(kind="POWEROFF").exists()


class TestDelete:
    def test_says_what_is_lost_and_asks_for_the_name(self, as_: Browser, web1: Machine, alice: User) -> None:
        browser = as_(alice)
        assert (
            "disk xvda, 1 GiB in pool local" in browser.get(f"/machines/{web1.id}/delete/").content.decode()
        )
        answer = browser.post(f"/machines/{web1.id}/delete/", {"name": "web2"})
        assert answer.status_code == 400
        assert not web1.jobs.filter(kind="DELETE").exists()

    def test_deletes_when_the_name_is_right(self, as_: Browser, web1: Machine, alice: User) -> None:
        answer = as_(alice).post(f"/machines/{web1.id}/delete/", {"name": "web1"})
        assert answer["Location"] == "/machines/"
        assert web1.jobs.filter(kind="DELETE", status="QUEUED").exists()

    def test_is_refused_to_a_stranger(self, as_: Browser, web1: Machine, charlie: User) -> None:
        assert as_(charlie).post(f"/machines/{web1.id}/delete/", {"name": "web1"}).status_code == 404
        assert not web1.jobs.filter(kind="DELETE").exists()


class TestSettings:
    def test_renames(self, as_: Browser, web1: Machine, alice: User) -> None:
        as_(alice).post(f"/machines/{web1.id}/settings/", {"name": "web2", "description": "The second"})
        web1.refresh_from_db()
        assert (web1.name, web1.description) == ("web2", "The second")

    def test_refuses_a_bad_name_beside_the_field(self, as_: Browser, web1: Machine, alice: User) -> None:
        answer = as_(alice).post(
            f"/machines/{web1.id}/settings/", {"name": "Domain-0", "description": "kept"}
        )
        assert answer.status_code == 400
        assert answer.context["form"].errors["name"]
        assert "kept" in answer.content.decode()

    def test_is_refused_to_a_stranger(self, as_: Browser, web1: Machine, charlie: User) -> None:
        assert as_(charlie).post(f"/machines/{web1.id}/settings/", {"name": "mine"}).status_code == 404


class TestPolicyOfContent:
    def test_is_strict_everywhere_and_lets_xterm_style_on_the_console_page_alone(
        self, as_: Browser, web1: Machine, alice: User
    ) -> None:
        browser = as_(alice)
        strict = browser.get(f"/machines/{web1.id}/")["Content-Security-Policy"]
        relaxed = browser.get(f"/machines/{web1.id}/console/")["Content-Security-Policy"]
        assert "unsafe" not in strict
        assert "style-src 'self' 'unsafe-inline'" in relaxed
        assert "script-src 'self';" in f"{relaxed};"

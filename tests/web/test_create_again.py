"""Creating again keeps what was typed, but no password; cards say whose a machine is; reasons can be read."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from tests.fixtures import NOW, report
from webxen.accounts.models import User
from webxen.approvals import operations as approvals
from webxen.approvals.models import MachineRequest
from webxen.jobs import operations
from webxen.jobs.models import Job
from webxen.machines.models import Machine

Browser = Callable[[User], Client]
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ5YcVpEm5o5H3sOeWzWTPlNx0Jm2zGd9y0T3bHq0H1x alice@laptop"
TYPED = {"size": "own", "vcpus": "2", "memory_mib": "640", "disk_gib": "3", "reason": "for the show"}


@pytest.fixture
def asked(as_: Browser, alice: User, dana: User, lab: Any, wish: dict[str, str]) -> MachineRequest:
    as_(alice).post("/machines/new/", wish | TYPED | {"ssh_keys": KEY})
    return MachineRequest.objects.get()


@pytest.fixture
def failed(asked: MachineRequest, dana: User) -> Machine:
    approvals.approve(staff=dana, request_id=asked.id, now=NOW)
    job = Job.objects.get(kind="CREATE")
    report(job, "STARTED")
    report(job, "FAILED", step="INIT", error_code="NO_LOGIN_PROMPT", error_message="No prompt.")
    return Machine.objects.get(id=job.machine_id)


def link_of(text: str, machine: Machine) -> str:
    return re.search(r'href="([^"]*\?again=[^"]*)"', text)[1]  # type: ignore[index]


class TestCreateAgain:
    def test_after_a_failure_all_is_filled_in_but_the_password(
        self, as_: Browser, failed: Machine, alice: User
    ) -> None:
        browser = as_(alice)
        for page in (f"/machines/{failed.id}/", "/"):
            again = link_of(browser.get(page).content.decode(), failed)
        answer = browser.get(again)
        chosen = answer.context["chosen"]
        assert {name: chosen[name] for name in TYPED} == TYPED
        assert (chosen["image"], chosen["network"], chosen["project"]) == ("minimal", "lan", "lab")
        assert chosen["ssh_keys"] == KEY
        # the failed one has its name until it is deleted
        assert chosen["name"] == "web1-2"
        text = answer.content.decode()
        assert 'value="web1-2"' in text
        assert 'value="640"' in text
        assert "root-password-1" not in text
        assert browser.post("/machines/new/", chosen).status_code == 302

    def test_a_name_that_is_free_is_kept(self, as_: Browser, failed: Machine, alice: User) -> None:
        Machine.objects.filter(id=failed.id).update(state=Machine.State.DELETED)
        answer = as_(alice).get(f"/machines/new/?again={failed.id}")
        assert answer.context["chosen"]["name"] == "web1"

    def test_a_machine_that_no_request_led_to_is_filled_in_from_itself(
        self, as_: Browser, web1: Machine, alice: User
    ) -> None:
        chosen = as_(alice).get(f"/machines/new/?again={web1.id}").context["chosen"]
        assert (chosen["name"], chosen["size"], chosen["network"]) == ("web1-2", "small", "lan")
        assert (chosen["vcpus"], chosen["memory_mib"], chosen["disk_gib"]) == ("1", "256", "1")

    def test_after_a_cancel_the_request_leads_there(
        self, as_: Browser, asked: MachineRequest, alice: User, dana: User
    ) -> None:
        approvals.approve(staff=dana, request_id=asked.id, now=NOW)
        job = Job.objects.get(kind="CREATE")
        operations.cancel_job(user=alice, job_id=job.id, now=NOW)
        report(job, "CANCELLED", error_code="CANCELLED", error_message="The job was cancelled.")
        browser = as_(alice)
        for page in (f"/requests/{asked.id}/", f"/jobs/{job.id}/"):
            again = link_of(browser.get(page).content.decode(), job.machine)
            assert browser.get(again).context["chosen"]["name"] == "web1"

    def test_after_a_no_it_can_be_asked_again(
        self, as_: Browser, asked: MachineRequest, alice: User, dana: User
    ) -> None:
        approvals.reject(staff=dana, request_id=asked.id, reason="too large", now=NOW)
        text = as_(alice).get(f"/requests/{asked.id}/").content.decode()
        assert f"?again={asked.id}" in text

    def test_a_strangers_request_fills_in_nothing(
        self, as_: Browser, asked: MachineRequest, charlie: User, elsewhere: Any
    ) -> None:
        for again in (str(asked.id), "nonsense"):
            answer = as_(charlie).get("/machines/new/", {"again": again})
            assert answer.status_code == 200
            assert "for the show" not in answer.content.decode()
            assert answer.context["chosen"]["name"] == "charlie-1"


class TestCards:
    def test_say_whose_a_machine_is_and_show_ones_own_first(
        self, as_: Browser, make_machine: Any, alice: User, bob: User
    ) -> None:
        mine, newer = make_machine("old"), make_machine("newer")
        Machine.objects.filter(id=mine.id).update(owner=bob)
        answer = as_(bob).get("/")
        assert [machine.name for machine in answer.context["machines"]] == ["old", "newer"]
        text = answer.content.decode()
        assert 'data-owner="alice"' in text
        assert 'data-owner="bob"' in text
        assert [machine.name for machine in as_(alice).get("/").context["machines"]] == [newer.name, "old"]


class TestDisabledButtons:
    def test_say_why_in_text_that_can_be_read_without_a_mouse(
        self, as_: Browser, web1: Machine, alice: User
    ) -> None:
        text = as_(alice).get(f"/machines/{web1.id}/").content.decode()
        shown = re.search(r'<div class="([^"]*)" id="why-not">(.*?)</div></div>', text, re.DOTALL)
        assert shown
        assert "visually-hidden" not in shown[1]
        assert "Start: The machine is running." in shown[2]
        assert 'disabled aria-describedby="why-not"' in text

    def test_each_reason_is_said_once_for_all_its_buttons(
        self, as_: Browser, web1: Machine, dana: User
    ) -> None:
        as_(dana).post(f"/machines/{web1.id}/actions/reboot/")
        answer = as_(dana).get(f"/machines/{web1.id}/")
        ((named, why),) = answer.context["refusals"]
        assert named == "Start, Shut down, Reboot, Power off, Move…"
        assert "A job is in progress: reboot." in why

    def test_what_cannot_be_deleted_says_why_beside_the_button(
        self, as_: Browser, web1: Machine, alice: User
    ) -> None:
        as_(alice).post(f"/machines/{web1.id}/actions/reboot/")
        text = as_(alice).get(f"/machines/{web1.id}/settings/").content.decode()
        assert 'aria-describedby="why-not-delete"' in text
        assert 'id="why-not-delete">A job is in progress' in text

"""Live pages of what is no longer there: they say so and lead on, and never look alive."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from tests.fixtures import NOW, report
from webxen.accounts.models import Membership, User
from webxen.approvals.models import MachineRequest
from webxen.jobs import operations
from webxen.jobs.models import Job
from webxen.machines.models import Machine

Browser = Callable[[User], Client]
#: as htmx asks for a part of a page
PART = {"HX-Request": "true"}
NO_LONGER = "This is no longer here: it was deleted, or you no longer have access."


@pytest.fixture
def deleted(web1: Machine) -> Machine:
    Machine.objects.filter(id=web1.id).update(state=Machine.State.DELETED)
    return web1


class TestDeletedMachine:
    @pytest.mark.parametrize("part", ["live/?part=head&tab=overview", "live/?part=overview", "jobs/"])
    def test_each_live_part_gives_way_to_a_page_that_leads_on(
        self, as_: Browser, deleted: Machine, alice: User, part: str
    ) -> None:
        answer = as_(alice).get(f"/machines/{deleted.id}/{part}", headers=PART)
        text = answer.content.decode()
        assert answer.status_code == 200  # a refusal would not be swapped in
        assert answer["HX-Retarget"] == "#content"
        assert "web1 is deleted." in text
        assert 'href="/machines/"' in text
        assert "hx-get" not in text

    def test_a_console_stays_below_the_notice(self, as_: Browser, deleted: Machine, alice: User) -> None:
        answer = as_(alice).get(f"/machines/{deleted.id}/live/?part=head&tab=console", headers=PART)
        assert (answer["HX-Retarget"], answer["HX-Reswap"]) == ("#machine-head", "outerHTML")
        assert "hx-get" not in answer.content.decode()
        assert "web1 is deleted." in answer.content.decode()

    def test_the_whole_page_says_it_too(self, as_: Browser, deleted: Machine, alice: User) -> None:
        answer = as_(alice).get(f"/machines/{deleted.id}/")
        assert answer.status_code == 404
        assert "web1 is deleted." in answer.content.decode()

    def test_a_stranger_learns_nothing(
        self, as_: Browser, deleted: Machine, charlie: User, elsewhere: Any
    ) -> None:
        browser = as_(charlie)
        assert browser.get(f"/machines/{deleted.id}/").status_code == 404
        for address in (f"/machines/{deleted.id}/live/", f"/machines/{deleted.id}/jobs/"):
            text = browser.get(address, headers=PART).content.decode()
            assert NO_LONGER in text
            assert "web1" not in text


class TestOtherPages:
    def test_a_member_who_left_is_led_on(
        self, as_: Browser, order_machine: Callable[..., Job], bob: User
    ) -> None:
        job = order_machine("fresh")
        browser = as_(bob)
        Membership.objects.filter(user=bob).delete()
        text = browser.get(f"/jobs/{job.id}/live/", headers=PART).content.decode()
        assert NO_LONGER in text
        assert 'href="/jobs/"' in text

    def test_a_host_that_was_removed_and_the_queue_of_former_staff(
        self, as_: Browser, xen1: Any, dana: User
    ) -> None:
        browser = as_(dana)
        assert 'href="/hosts/"' in browser.get("/hosts/xen9/", headers=PART).content.decode()
        User.objects.filter(id=dana.id).update(is_staff=False)
        assert NO_LONGER in browser.get("/approvals/", headers=PART).content.decode()


class TestCancelledCreate:
    @pytest.fixture
    def cancelled(self, as_: Browser, wish: dict[str, str], lab: Any, alice: User) -> Job:
        as_(alice).post("/machines/new/", wish)
        job = Job.objects.get(kind="CREATE")
        report(job, "STARTED")
        report(job, "STEP", step="KERNEL", progress=70)
        operations.cancel_job(user=alice, job_id=job.id, now=NOW)
        report(job, "STEP", step="CLEANING", progress=99)
        report(
            job, "CANCELLED", step="KERNEL", error_code="CANCELLED", error_message="The job was cancelled."
        )
        return job

    def test_its_page_says_that_it_was_cancelled_and_leads_to_the_job(
        self, as_: Browser, cancelled: Job, alice: User
    ) -> None:
        page = f"/machines/{cancelled.machine_id}/live/?part=head&tab=overview"
        text = as_(alice).get(page, headers=PART).content.decode()
        assert "Creating web1 was cancelled." in text
        assert f'href="/jobs/{cancelled.id}/"' in text
        assert 'href="/machines/"' in text

    def test_its_request_says_that_it_was_cancelled(self, as_: Browser, cancelled: Job, alice: User) -> None:
        asked = MachineRequest.objects.get(job=cancelled)
        page = as_(alice).get(f"/requests/{asked.id}/").content.decode()
        assert "Creating the machine was cancelled." in page
        assert f'href="/jobs/{cancelled.id}/"' in page
        assert "Creating the machine was cancelled." in as_(alice).get("/requests/").content.decode()

    def test_its_job_shows_where_it_was_stopped(self, as_: Browser, cancelled: Job, alice: User) -> None:
        answer = as_(alice).get(f"/jobs/{cancelled.id}/")
        states = {step.code: step.state for step in answer.context["steps"]}
        assert states["KERNEL"] == "cancelled"
        assert states["INIT"] == states["LOGIN"] == "unheard"
        assert 'data-cleaning="done"' in answer.content.decode()

"""Numbers, counts and units mean what they say."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client

from tests.fixtures import NOW, observe, report
from webxen.accounts.models import User
from webxen.approvals import operations as approvals
from webxen.approvals.models import MachineRequest, QuotaRequest
from webxen.inventory.models import Host
from webxen.jobs.models import Job
from webxen.machines.models import Machine
from webxen.quotas.models import Quota
from webxen.web import sizes

Browser = Callable[[User], Client]
PART = {"HX-Request": "true"}


@pytest.fixture
def waiting(order_machine: Callable[..., Job], xen1: Host) -> Job:
    """A machine that waits: no host has room for it."""
    Host.objects.filter(id=xen1.id).update(memory_mib=100, memory_reserved_mib=0)
    job = order_machine("waits")
    assert job.status == "PENDING"
    return job


class TestQuotaPage:
    def test_what_waits_does_not_run(self, as_: Browser, web1: Machine, waiting: Job, alice: User) -> None:
        answer = as_(alice).get("/quota/")
        processors = answer.context["gauges"][1]
        memory = answer.context["gauges"][2]
        assert (processors.running_text, processors.starting_text) == ("1", "1")
        assert (memory.running_text, memory.starting_text) == ("256 MiB", "256 MiB")
        text = answer.content.decode()
        assert "1 running" in text
        assert "1 to start" in text
        assert "waiting for capacity" in text

    def test_what_is_built_is_called_so(
        self, as_: Browser, order_machine: Callable[..., Job], alice: User
    ) -> None:
        order_machine("fresh")
        text = as_(alice).get("/quota/").content.decode()
        assert "being created" in text
        assert "0 running" in text


class TestSideBar:
    def test_counts_what_a_host_works_at_and_not_what_waits(
        self, as_: Browser, order_machine: Callable[..., Job], waiting: Job, xen1: Host, alice: User
    ) -> None:
        browser = as_(alice)
        assert "data-count" not in browser.get("/images/").content.decode()
        Host.objects.filter(id=xen1.id).update(memory_mib=8000)
        job = order_machine("fresh", host_name="xen1")
        assert 'data-count="1"' in browser.get("/images/").content.decode()
        report(job, "STARTED")
        report(job, "SUCCEEDED", power="RUNNING")
        assert "data-count" not in browser.get("/badges/", headers=PART).content.decode()

    def test_is_asked_for_again_when_something_changed(self, as_: Browser, alice: User, dana: User) -> None:
        page = as_(alice).get("/images/").content.decode()
        assert 'id="badges" data-live="jobs requests" hx-get="/badges/"' in page
        assert 'id="badge-jobs" hx-swap-oob' in as_(alice).get("/badges/", headers=PART).content.decode()
        assert "badge-approvals" not in as_(alice).get("/badges/", headers=PART).content.decode()
        assert "badge-approvals" in as_(dana).get("/badges/", headers=PART).content.decode()

    def test_counts_both_kinds_of_requests(
        self, as_: Browser, pending: MachineRequest, more_wanted: QuotaRequest, dana: User
    ) -> None:
        assert 'data-count="2"' in as_(dana).get("/badges/", headers=PART).content.decode()


class TestWhatIsSaidOfADecision:
    @pytest.fixture
    def asked(self, as_: Browser, alice: User, lab: Any, wish: dict[str, str]) -> MachineRequest:
        as_(alice).post("/machines/new/", wish | {"size": "own"})
        return MachineRequest.objects.get()

    def test_a_machine_that_waits_is_not_being_created(
        self, as_: Browser, asked: MachineRequest, xen1: Host, dana: User
    ) -> None:
        Host.objects.filter(id=xen1.id).update(memory_mib=100, memory_reserved_mib=0)
        text = as_(dana).post(f"/requests/{asked.id}/approve/", follow=True).content.decode()
        assert "web1 was approved." in text
        assert "being created" not in text
        assert "No host has enough free capacity" in text

    def test_a_machine_that_is_created_is(self, as_: Browser, asked: MachineRequest, dana: User) -> None:
        text = as_(dana).post(f"/requests/{asked.id}/approve/", follow=True).content.decode()
        assert "web1 was approved. The machine is being created." in text

    def test_a_refused_quota_request_does_not_reject_the_project(
        self, as_: Browser, more_wanted: QuotaRequest, dana: User
    ) -> None:
        path = f"/quota/requests/{more_wanted.id}/reject/"
        text = as_(dana).post(path, {"reason": "no room"}, follow=True).content.decode()
        assert "The request of lab for more quota was rejected." in text
        assert "lab is rejected" not in text.lower()

    def test_decided_lists_quota_requests_too(
        self, as_: Browser, more_wanted: QuotaRequest, dana: User, pending: MachineRequest
    ) -> None:
        approvals.reject_quota(staff=dana, request_id=more_wanted.id, reason="no", now=NOW)
        approvals.reject(staff=dana, request_id=pending.id, reason="no", now=NOW + timedelta(minutes=1))
        history = as_(dana).get("/approvals/").context["history"]
        assert [one.id for one in history] == [pending.id, more_wanted.id]
        assert "More quota for lab" in as_(dana).get("/approvals/").content.decode()


class TestUnits:
    @pytest.mark.parametrize(
        ("mib", "shown"),
        [
            (0, "0 MiB"),
            (256, "256 MiB"),
            (1024, "1 GiB"),
            (8448, "8.25 GiB"),
            (8748, "8.54 GiB"),
            (81920, "80 GiB"),
        ],
    )
    def test_memory_is_said_in_few_digits(self, mib: int, shown: str) -> None:
        assert sizes.memory(mib) == shown

    def test_a_wish_and_its_sum_agree(
        self, as_: Browser, lab: Any, wish: dict[str, str], web1: Machine, alice: User
    ) -> None:
        Quota.objects.filter(project=lab).update(memory_mib_limit=64 << 10)
        large = wish | {"size": "own", "memory_mib": "8192"}
        text = as_(alice).post("/machines/new/outlook/", large).content.decode()
        assert "+8 GiB → 8.25 GiB" in text

    def test_a_full_disk_is_said_in_gib_in_both_languages(
        self, as_: Browser, lab: Any, xen1: Host, wish: dict[str, str], alice: User, dana: User
    ) -> None:
        observe(xen1)
        xen1.pools.update(free_mib=71429)
        as_(alice).post("/machines/new/", wish | {"size": "own", "disk_gib": "80"})
        text = as_(dana).get("/approvals/").content.decode()
        assert "69.75 GiB of disk space free and not reserved, 80 GiB needed" in text
        russian = as_(dana).get("/approvals/", headers={"accept-language": "ru"}).content.decode()
        assert "69,75 ГиБ" in russian
        assert "71429" not in russian


class TestTimes:
    def test_events_say_their_time_zone(
        self, as_: Browser, order_machine: Callable[..., Job], alice: User
    ) -> None:
        job = order_machine("fresh")
        text = as_(alice).get(f"/jobs/{job.id}/").content.decode()
        assert f"{NOW:%H:%M:%S} UTC</time>" in text

    def test_only_a_job_that_waited_says_so(
        self, as_: Browser, order_machine: Callable[..., Job], waiting: Job, xen1: Host, alice: User
    ) -> None:
        browser = as_(alice)
        assert "Waiting for capacity" in browser.get(f"/jobs/{waiting.id}/").content.decode()
        Host.objects.filter(id=xen1.id).update(memory_mib=8000)
        job = order_machine("fresh", host_name="xen1")
        assert "Waiting for capacity" not in browser.get(f"/jobs/{job.id}/").content.decode()

    def test_failures_are_put_away_after_a_week(
        self, as_: Browser, order_machine: Callable[..., Job], dana: User
    ) -> None:
        job = order_machine("fresh")
        report(job, "STARTED")
        report(job, "FAILED", step="DISK", error_code="DISK_FAILED", error_message="No.")
        browser = as_(dana)
        assert list(browser.get("/").context["failed"]) == [job]
        with time_machine.travel(NOW + timedelta(days=8)):
            answer = browser.get("/")
        assert not answer.context["failed"]
        assert "failed jobs in 7 days" in answer.content.decode()

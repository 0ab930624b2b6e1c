"""What jobs and observations do to the quota: a machine that is off gives its running share back, once."""

from datetime import timedelta

import pytest

from tests.fixtures import NOW, job_of, observe, report
from webxen.core.errors import NotFoundError
from webxen.jobs import ledger, operations
from webxen.jobs.models import Job
from webxen.machines.models import Machine
from webxen.quotas import operations as quotas
from webxen.quotas import queries
from webxen.quotas.drift import What
from webxen.quotas.models import Quota, QuotaEntry, Reservation
from webxen.quotas.operations import QuotaExceededError
from webxen.quotas.shortage import Figures, Running, RunningLimit
from worker.contract import DomainSeen

LATER = NOW + timedelta(minutes=1)
WIDE = Figures(machines=10, vcpus=16, memory_mib=4096, disk_gib=100)


def running(project):
    return queries.headroom(project=project).running


def see(host, machine, power):
    domain = DomainSeen(
        domain="d1", uuid=str(machine.id), domid=1, power=power, memory_mib=machine.memory_mib, vcpus=1
    )
    observe(host, domains=() if power == "OFF" else (domain,), now=LATER)


def switch_off(machine, user):
    operations.act(action="poweroff", user=user, machine_id=machine.id, now=LATER)
    report(job_of(machine), "STARTED", now=LATER)
    report(job_of(machine), "SUCCEEDED", power="OFF", now=LATER)


class TestPower:
    def test_a_machine_that_is_made_runs(self, web1, lab):
        assert running(lab) == Running(1, 256)
        assert ledger.drift() == []

    def test_poweroff_gives_back_once_and_start_takes_again(self, web1, lab, alice, xen1):
        switch_off(web1, alice)
        assert running(lab) == Running(0, 0)
        see(xen1, web1, "OFF")
        assert running(lab) == Running(0, 0)
        operations.act(action="start", user=alice, machine_id=web1.id, now=LATER)
        assert running(lab) == Running(1, 256)
        report(job_of(web1), "SUCCEEDED", power="RUNNING", now=LATER)
        assert running(lab) == Running(1, 256)
        assert list(QuotaEntry.objects.filter(holder=web1.id).values_list("kind", flat=True)) == [
            "RESERVE",
            "COMMIT",
            "UNHOLD",
            "HOLD",
        ]
        assert ledger.drift() == []

    def test_start_is_refused_with_the_shortage(self, web1, lab, alice, dana, make_machine):
        switch_off(web1, alice)
        make_machine("web2")
        limit = RunningLimit(vcpus=1, memory_mib=None)
        quotas.set_limits(project=lab, limits=WIDE, running=limit, staff=dana, now=LATER)
        with pytest.raises(QuotaExceededError, match="1 running vCPU over quota: 1 of 1 in use"):
            operations.act(action="start", user=alice, machine_id=web1.id, now=LATER)
        assert job_of(web1).kind == "POWEROFF"

    def test_a_start_that_failed_gives_back_when_the_host_says_off(self, web1, lab, alice, xen1):
        switch_off(web1, alice)
        operations.act(action="start", user=alice, machine_id=web1.id, now=LATER)
        see(xen1, web1, "OFF")
        assert running(lab) == Running(1, 256), "its job is open"
        job = Job.objects.get(machine=web1, kind="START")
        assert report(job, "FAILED", error_code="XL_FAILED", error_message="no memory", now=LATER)
        much_later = LATER + timedelta(minutes=1)
        observe(xen1, domains=(), now=much_later)
        assert running(lab) == Running(0, 0)

    def test_a_start_taken_back_gives_back(self, web1, lab, alice):
        switch_off(web1, alice)
        job = operations.act(action="start", user=alice, machine_id=web1.id, now=LATER)
        operations.cancel_job(user=alice, job_id=job.id, now=LATER)
        report(job, "CANCELLED", now=LATER)
        assert running(lab) == Running(0, 0)

    def test_charlie_starts_nothing(self, web1, lab, alice, charlie):
        switch_off(web1, alice)
        with pytest.raises(NotFoundError):
            operations.act(action="start", user=charlie, machine_id=web1.id, now=LATER)
        assert running(lab) == Running(0, 0)


class TestObservation:
    def test_a_guest_that_shut_itself_down_gives_back(self, web1, lab, xen1):
        see(xen1, web1, "OFF")
        see(xen1, web1, "OFF")
        assert running(lab) == Running(0, 0)
        assert queries.headroom(project=lab).reserved.machines == 1

    def test_a_machine_seen_running_is_counted_even_above_the_limit(self, web1, lab, dana, xen1):
        see(xen1, web1, "OFF")
        limit = RunningLimit(vcpus=0, memory_mib=0)
        quotas.set_limits(project=lab, limits=WIDE, running=limit, staff=dana, now=LATER)
        see(xen1, web1, "RUNNING")
        assert running(lab) == Running(1, 256)
        quota = Quota.objects.get(project=lab)
        assert (quota.running_vcpus_overdraft, quota.running_memory_mib_overdraft) == (1, 256)

    def test_what_nobody_knows_changes_nothing(self, web1, lab, xen1):
        observe(xen1, domains=None, now=LATER)
        assert running(lab) == Running(1, 256)


class TestDrift:
    def test_shows_what_the_observation_may_not_settle(self, web1, lab, xen1):
        Reservation.objects.filter(holder=web1.id).update(vcpus=3)
        assert {drift.what for drift in ledger.drift()} == {What.FIGURES, What.COLUMNS_AND_RESERVATIONS}

    def test_a_failed_making_is_none(self, order_machine, lab):
        job = order_machine()
        report(job, "FAILED", error_code="DISK_FULL", error_message="no room")
        assert Machine.objects.get().state == "FAILED"
        assert ledger.drift() == []
        assert running(lab) == Running(0, 0)

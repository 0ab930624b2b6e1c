"""What reports and observations do: once, in order, and only from the host they are about."""

import functools
from datetime import timedelta
from uuid import uuid4

import pytest

from tests.fixtures import job_of, observe, public_pem, report
from webxen.core.models import AuditEntry
from webxen.inventory import operations as inventory
from webxen.inventory.models import Address
from webxen.jobs import observing, operations
from webxen.jobs.models import Job, JobEvent
from webxen.machines.models import Machine
from webxen.quotas import queries as quotas
from webxen.quotas.models import Reservation
from webxen.quotas.shortage import Figures
from worker import contract

NOTHING = Figures(0, 0, 0, 0)


def seen(machine, power="RUNNING"):
    return contract.DomainSeen(
        domain="x", uuid=str(machine.id), domid=3, power=power, memory_mib=256, vcpus=1
    )


class TestCreateReports:
    def test_steps_move_the_bar_and_leave_a_row_each(self, order_machine):
        job = order_machine()
        report(job, "STARTED")
        report(job, "STEP", step="DISK", progress=10)
        report(job, "STEP", step="DISK", progress=20)
        report(job, "STEP", step="SEED", progress=40)
        assert (job.status, job.step, job.progress) == ("RUNNING", "SEED", 40)
        steps = JobEvent.objects.filter(job=job, event="STEP").values_list("step", flat=True)
        assert list(steps) == ["DISK", "SEED"]

    def test_success_makes_it_ready(self, order_machine, now):
        job = order_machine()
        report(job, "STARTED")
        report(job, "SUCCEEDED", power="RUNNING", config="name = 'web1'\n")
        machine = Machine.objects.get()
        assert machine.config == "name = 'web1'\n"
        assert (job.status, job.progress, job.finished_at) == ("SUCCEEDED", 100, now)
        assert (machine.state, machine.power, machine.power_seen_at) == ("READY", "RUNNING", now)
        assert Reservation.objects.get().status == "COMMITTED"

    def test_the_seed_is_dropped_once_built(self, order_machine):
        job = order_machine()
        assert Machine.objects.get().seed["password_hash"]
        report(job, "SUCCEEDED")
        assert Machine.objects.get().seed is None

    def test_failure_gives_back_quota_and_memory_once(self, order_machine, lab, xen1):
        job = order_machine()
        report(
            job,
            "FAILED",
            error_code="DISK_FULL",
            error_message="The host's disk is full. Ask staff for room.",
            is_retryable=True,
            console_tail="tail",
        )
        machine = Machine.objects.get()
        assert (machine.state, machine.state_reason) == (
            "FAILED",
            "The host's disk is full. Ask staff for room.",
        )
        assert (job.error_code, job.is_retryable, job.console_tail) == ("DISK_FULL", True, "tail")
        assert machine.seed is None
        assert quotas.headroom(project=lab).reserved == NOTHING
        xen1.refresh_from_db()
        assert xen1.memory_reserved_mib == 0

    def test_deleting_a_failed_one_gives_back_nothing_twice(
        self, order_machine, make_machine, lab, xen1, alice, now
    ):
        make_machine("other")
        job = order_machine()
        report(job, "FAILED")
        report(operations.delete_machine(user=alice, machine_id=job.machine_id, now=now), "SUCCEEDED")
        assert quotas.headroom(project=lab).reserved == Figures(1, 1, 256, 1)
        xen1.refresh_from_db()
        assert xen1.memory_reserved_mib == 256
        assert Address.objects.count() == 1


class TestLateReports:
    def test_move_nothing(self, order_machine):
        job = order_machine()
        report(job, "STEP", step="SEED", progress=40, sequence=5)
        assert not report(job, "STEP", step="DISK", progress=10, sequence=4)
        assert not report(job, "STEP", step="DISK", progress=10, sequence=5)
        assert not report(job, "STARTED", sequence=0)
        assert (job.step, job.progress) == ("SEED", 40)

    @pytest.mark.parametrize("end", ["SUCCEEDED", "FAILED"])
    @pytest.mark.parametrize("late", ["STARTED", "STEP", "SUCCEEDED", "FAILED"])
    def test_after_the_end_move_nothing(self, order_machine, lab, xen1, end, late):
        job = order_machine()
        report(job, end)
        before = (quotas.headroom(project=lab), Machine.objects.get().state, JobEvent.objects.count())
        assert not report(job, late, sequence=99)
        assert before == (quotas.headroom(project=lab), Machine.objects.get().state, JobEvent.objects.count())
        assert job.status == end

    def test_an_end_counts_even_if_a_later_step_was_heard(self, order_machine):
        job = order_machine()
        report(job, "STEP", step="LOGIN", sequence=9)
        assert report(job, "SUCCEEDED", sequence=8)
        assert job.status == "SUCCEEDED"


class TestForeignReports:
    def test_of_another_hosts_job_are_refused(self, order_machine, xen1_key, now, caplog):
        xen2 = inventory.accept_host(name="xen2", public_key=public_pem(xen1_key), now=now)
        job = order_machine()
        said = contract.Report(job_id=str(job.id), machine_id=str(job.machine_id), event="SUCCEEDED")
        assert not operations.apply_report(host=xen2, report=said, now=now)
        job.refresh_from_db()
        assert job.status == "QUEUED"
        assert "not its own" in caplog.text

    @pytest.mark.parametrize(
        "job_id", ["", "x", "5dd8c7f5-8c7e-4cf2-9f0a-1a3cbb6fe0a3", "{0}", "urn:uuid:0", "a\0"]
    )
    def test_of_unknown_jobs_are_dropped(self, xen1, now, job_id):
        said = contract.Report(job_id=job_id, machine_id=str(uuid4()), event="SUCCEEDED")
        assert not operations.apply_report(host=xen1, report=said, now=now)

    def test_that_name_another_machine_are_dropped(self, order_machine, web1, xen1, now):
        job = order_machine("web2")
        said = contract.Report(job_id=str(job.id), machine_id=str(web1.id), event="SUCCEEDED")
        assert not operations.apply_report(host=xen1, report=said, now=now)

    def test_with_nonsense_in_them_are_bounded(self, order_machine):
        job = order_machine()
        report(job, "STEP", step="S" * 99, progress=10**9, sequence=10**30)
        assert (len(job.step), job.progress, job.sequence) == (24, 100, 2**31 - 1)
        report(
            job,
            "FAILED",
            progress=-5,
            sequence=0,
            error_code="E" * 99,
            error_message="no\0 \x1b[31mred\ud800" + "x" * 9999,
            console_tail="t\x07" * 99999,
        )
        assert (job.progress, len(job.error_code), len(job.error_message)) == (0, 40, 2000)
        assert job.error_message.startswith("no [31mred")
        assert len(job.console_tail) <= 16384


class TestEndsOfVerbs:
    @pytest.mark.parametrize(
        ("act", "before", "after"),
        [
            (functools.partial(operations.act, action="start"), "OFF", "RUNNING"),
            (functools.partial(operations.act, action="reboot"), "RUNNING", "RUNNING"),
            (functools.partial(operations.act, action="shutdown"), "RUNNING", "OFF"),
            (functools.partial(operations.act, action="poweroff"), "RUNNING", "OFF"),
        ],
    )
    def test_success_leaves_the_power_it_made(self, web1, alice, now, act, before, after):
        Machine.objects.filter(id=web1.id).update(power=before)
        report(act(user=alice, machine_id=web1.id, now=now), "SUCCEEDED")
        web1.refresh_from_db()
        assert (web1.state, web1.power) == ("READY", after)

    def test_failure_leaves_the_power_the_host_saw(self, web1, alice, now, lab):
        job = operations.act(action="shutdown", user=alice, machine_id=web1.id, now=now)
        report(job, "FAILED", error_code="GUEST_IGNORED_SHUTDOWN", power="RUNNING")
        web1.refresh_from_db()
        assert (web1.state, web1.power) == ("READY", "RUNNING")
        assert quotas.headroom(project=lab).reserved.machines == 1
        assert AuditEntry.objects.filter(action="SHUTDOWN_FAILED").exists()

    def test_delete_gives_everything_back(self, web1, alice, lab, xen1, now):
        report(operations.delete_machine(user=alice, machine_id=web1.id, now=now), "SUCCEEDED")
        web1.refresh_from_db()
        xen1.refresh_from_db()
        assert (web1.state, web1.deleted_at) == ("DELETED", now)
        assert quotas.headroom(project=lab).reserved == NOTHING
        assert xen1.memory_reserved_mib == 0
        assert not Address.objects.exists()

    def test_delete_that_failed_can_be_asked_again(self, web1, alice, lab, now):
        report(
            operations.delete_machine(user=alice, machine_id=web1.id, now=now), "FAILED", error_message="No."
        )
        web1.refresh_from_db()
        assert (web1.state, web1.state_reason) == ("FAILED", "No.")
        assert quotas.headroom(project=lab).reserved.machines == 1
        assert operations.delete_machine(user=alice, machine_id=web1.id, now=now).fence == 3

    @pytest.mark.parametrize(
        "code", ["JOURNAL_UNWRITABLE", "FENCE_UNREADABLE", "WORKER_TOO_OLD", "ORDER_REFUSED"]
    )
    def test_delete_that_the_host_would_not_begin_leaves_the_machine_as_it_was(self, web1, alice, now, code):
        job = operations.delete_machine(user=alice, machine_id=web1.id, now=now)
        report(job, "FAILED", error_code=code, error_message="It does nothing.", power="UNKNOWN")
        web1.refresh_from_db()
        assert (job.status, web1.state, web1.power) == ("FAILED", "READY", "RUNNING")
        assert operations.act(action="reboot", user=alice, machine_id=web1.id, now=now).kind == "REBOOT"

    def test_delete_that_the_host_would_not_begin_makes_no_broken_machine_good(self, web1, alice, now):
        first = operations.delete_machine(user=alice, machine_id=web1.id, now=now)
        report(first, "FAILED", error_code="DISK_FAILED", error_message="No.")
        again = operations.delete_machine(user=alice, machine_id=web1.id, now=now)
        report(again, "FAILED", error_code="JOURNAL_UNWRITABLE", error_message="It does nothing.")
        web1.refresh_from_db()
        assert web1.state == "FAILED"


class TestObservations:
    LATER = timedelta(minutes=1)

    def test_bring_the_power(self, web1, xen1, now):
        observe(xen1, domains=(seen(web1, "PAUSED"),), now=now + self.LATER)
        web1.refresh_from_db()
        assert (web1.power, web1.power_seen_at) == ("PAUSED", now + self.LATER)

    def test_a_machine_not_in_the_list_is_off(self, web1, xen1, now):
        observe(xen1, domains=(), now=now + self.LATER)
        web1.refresh_from_db()
        assert web1.power == "OFF"

    def test_an_unreadable_list_makes_power_unknown(self, web1, xen1, now):
        observe(xen1, domains=None, now=now + self.LATER)
        web1.refresh_from_db()
        assert web1.power == "UNKNOWN"

    def test_made_before_a_job_ended_do_not_undo_it(self, web1, xen1, alice, now):
        later = now + self.LATER
        job = operations.act(action="poweroff", user=alice, machine_id=web1.id, now=later)
        said = contract.Report(job_id=str(job.id), machine_id=str(web1.id), event="SUCCEEDED")
        operations.apply_report(host=xen1, report=said, now=later)
        observe(xen1, domains=(seen(web1),), now=later + timedelta(seconds=1))
        web1.refresh_from_db()
        assert web1.power == "OFF"
        observe(xen1, domains=(seen(web1),), now=later + timedelta(seconds=11))
        web1.refresh_from_db()
        assert web1.power == "RUNNING"

    def test_say_nothing_of_a_machine_still_being_built(self, order_machine, xen1, now):
        job = order_machine()
        observe(xen1, domains=(), now=now + self.LATER)
        assert Machine.objects.get(id=job.machine_id).power == "UNKNOWN"

    def test_of_another_host_move_nothing(self, web1, xen1_key, now):
        xen2 = inventory.accept_host(name="xen2", public_key=public_pem(xen1_key), now=now)
        observe(xen2, domains=(seen(web1, "CRASHED"),), now=now + self.LATER)
        web1.refresh_from_db()
        assert web1.power == "RUNNING"

    def test_in_another_hosts_name_are_dropped(self, xen1, now, caplog):
        claim = contract.Observation(host="xen2", facts={"host": "evil"}, pools=(), bridges=(), domains=())
        observing.apply_observation(host=xen1, observation=claim, now=now)
        xen1.refresh_from_db()
        assert xen1.facts["host"] == "xen1"
        assert "dropped" in caplog.text


class TestOneOpenJob:
    def test_after_the_end_the_next_may_come(self, web1, alice, now):
        assert job_of(web1).status == "SUCCEEDED"
        operations.act(action="reboot", user=alice, machine_id=web1.id, now=now)
        assert Job.objects.filter(status__in=Job.OPEN).count() == 1

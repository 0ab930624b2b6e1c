"""Taking a job back: who may, what the host is told, and what becomes of the machine and its quota."""

import functools
from datetime import timedelta

import pytest

from tests.fixtures import heard_until, report
from webxen.core.errors import NotFoundError
from webxen.core.models import AuditEntry
from webxen.jobs import dispatch, operations
from webxen.jobs.models import Job, JobEvent
from webxen.machines.models import Machine
from webxen.quotas import queries as quotas
from webxen.quotas.models import Reservation
from webxen.quotas.shortage import Figures
from worker import contract

NOTHING = Figures(0, 0, 0, 0)


@pytest.fixture
def cancel(now, django_capture_on_commit_callbacks):
    def cancel(user, job, at=now):
        with django_capture_on_commit_callbacks(execute=True):
            return operations.cancel_job(user=user, job_id=job.id, now=at)

    return cancel


class TestCancelCreate:
    def test_is_asked_of_the_host_and_ends_when_it_says_so(
        self, alice, order_machine, cancel, mailbox, lab, xen1
    ):
        job = order_machine()
        report(job, "STARTED")
        mailbox.take("xen1")
        job = cancel(alice, job)
        (order,) = mailbox.orders("xen1")
        assert isinstance(order, contract.CancelJob)
        assert (order.job_id, order.fence) == (str(job.id), job.fence)
        assert (job.status, job.waiting_for) == ("RUNNING", dispatch.CANCELLING)

        report(job, "CANCEL_HEARD", error_message="xl create is finished first.")
        report(job, "STEP", step="DOMAIN", progress=70)
        assert (job.status, job.waiting_for) == ("RUNNING", "xl create is finished first.")

        report(job, "CANCELLED", power="OFF")
        machine = Machine.objects.get()
        assert (job.status, job.waiting_for, machine.state) == ("CANCELLED", "", "DELETED")
        assert quotas.headroom(project=lab).reserved == NOTHING
        assert Reservation.objects.get().status == "RELEASED"
        xen1.refresh_from_db()
        assert xen1.memory_reserved_mib == 0
        assert machine.seed is None
        told = list(JobEvent.objects.filter(job=job).values_list("event", flat=True))
        rest = [event for event in told if event != "SENT"]
        assert rest[-4:] == ["CANCEL_ASKED", "CANCEL_HEARD", "STEP", "CANCELLED"]
        assert AuditEntry.objects.filter(action="CANCEL_CREATE", actor=alice).count() == 1

    def test_one_that_waits_for_a_host_is_gone_at_once(self, alice, order_machine, cancel, xen1, lab):
        xen1.memory_mib = 0
        xen1.save()
        job = order_machine()
        assert job.status == "PENDING"
        assert cancel(alice, job).status == "CANCELLED"
        assert Machine.objects.get().state == "DELETED"
        assert quotas.headroom(project=lab).reserved == NOTHING

    def test_too_late_it_succeeds(self, alice, order_machine, cancel):
        job = order_machine()
        cancel(alice, job)
        report(job, "SUCCEEDED", power="RUNNING")
        assert (job.status, Machine.objects.get().state) == ("SUCCEEDED", "READY")

    def test_is_asked_again_until_the_host_answers(
        self, alice, order_machine, cancel, mailbox, now, django_capture_on_commit_callbacks
    ):
        job = order_machine()
        cancel(alice, job)
        mailbox.take("xen1")
        report(job, "STEP", step="DISK", progress=10)
        heard_until(now + timedelta(seconds=31))
        operations.sweep(now=now + timedelta(seconds=31))
        (order,) = mailbox.orders("xen1")
        assert order.kind == "CANCEL"

    def test_twice_is_the_same_as_once(self, alice, order_machine, cancel):
        job = order_machine()
        cancel(alice, job)
        assert cancel(alice, job).status == "QUEUED"

    def test_after_the_end_is_refused(self, alice, order_machine, cancel):
        job = order_machine()
        report(job, "SUCCEEDED", power="RUNNING")
        with pytest.raises(operations.NotCancellableError, match="already ended"):
            cancel(alice, job)

    def test_a_stranger_finds_no_such_job(self, charlie, order_machine, cancel):
        with pytest.raises(NotFoundError):
            cancel(charlie, order_machine())


class TestCancelDelete:
    def test_before_the_host_began_it_the_machine_is_good_again(self, alice, web1, cancel, now):
        job = operations.delete_machine(user=alice, machine_id=web1.id, now=now)
        cancel(alice, job)
        report(job, "CANCELLED", power="RUNNING")
        web1.refresh_from_db()
        assert (web1.state, web1.power) == ("READY", "RUNNING")
        assert Reservation.objects.get().status == "COMMITTED"

    @pytest.mark.parametrize("verb", ["delete", "poweroff"])
    def test_once_begun_it_is_finished(self, alice, web1, cancel, now, verb):
        act = {
            "delete": operations.delete_machine,
            "poweroff": functools.partial(operations.act, action="poweroff"),
        }[verb]
        job = act(user=alice, machine_id=web1.id, now=now)
        report(job, "STARTED")
        with pytest.raises(operations.NotCancellableError, match="cannot be interrupted safely"):
            cancel(alice, job)


class TestCancelOthers:
    def test_a_shutdown_that_is_ignored(self, alice, web1, cancel, now):
        job = operations.act(action="shutdown", user=alice, machine_id=web1.id, now=now)
        report(job, "STARTED")
        cancel(alice, job)
        report(job, "CANCELLED", power="RUNNING")
        web1.refresh_from_db()
        assert (job.status, web1.state, web1.power) == ("CANCELLED", "READY", "RUNNING")


class TestHostTimeout:
    def test_a_host_that_never_answers_ends_the_job_once_no_order_can_be_valid(
        self, order_machine, now, django_capture_on_commit_callbacks
    ):
        job = order_machine()
        Job.objects.filter(id=job.id).update(sent_at=now + timedelta(seconds=890))
        later = now + timedelta(seconds=901)
        heard_until(later)
        assert operations.sweep(now=later) == {"placed": 0, "given_up": 0, "sent": 0, "moves": 0}
        later = now + timedelta(seconds=890 + 300 + 61)
        heard_until(later)
        assert operations.sweep(now=later)["given_up"] == 1
        job.refresh_from_db()
        assert (job.status, job.error_code) == ("FAILED", "NO_ANSWER")
        assert Machine.objects.get().state == "FAILED"
        # it may have been made all the same: what it holds stays held until it is deleted
        assert Reservation.objects.get().status == "RESERVED"

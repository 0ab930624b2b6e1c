"""The clock's share of the work: ring again, place what waits, end what nobody answers for."""

from datetime import timedelta

import pytest

from tests.fixtures import heard_until, observe, report
from webxen.inventory.models import Address, Host
from webxen.jobs import operations
from webxen.jobs.models import Job, JobEvent
from webxen.machines.models import Machine
from webxen.quotas import queries as quotas


@pytest.fixture
def sweep(django_capture_on_commit_callbacks):
    """Let the sweep run, and what it asks for after its commits."""

    def run(now, *, is_heard=True):
        if is_heard:
            heard_until(now)
        with django_capture_on_commit_callbacks(execute=True):
            return operations.sweep(now=now)

    return run


@pytest.fixture
def queued(order_machine, mailbox, django_capture_on_commit_callbacks):
    """A create job that was sent at the start of the test and not acknowledged."""
    with django_capture_on_commit_callbacks(execute=True):
        job = order_machine()
    mailbox.orders("xen1")
    return job


class TestSendAgain:
    def test_waits_for_an_acknowledgement_first(self, queued, sweep, mailbox, now):
        assert sweep(now + timedelta(seconds=29))["sent"] == 0
        assert mailbox.orders("xen1") == []

    def test_rings_again_with_a_fresh_envelope(self, queued, sweep, mailbox, now):
        later = now + timedelta(minutes=2)
        assert sweep(later)["sent"] == 1
        (text,) = mailbox.take("xen1")
        assert f'not_after\\":{int(later.timestamp()) + 300}' in text
        assert sweep(later + timedelta(seconds=1))["sent"] == 0
        assert JobEvent.objects.filter(job=queued, event="SENT").count() == 1

    def test_leaves_a_job_alone_that_reports(self, queued, sweep, now):
        report(queued, "STARTED", now=now + timedelta(seconds=40))
        assert sweep(now + timedelta(seconds=60))["sent"] == 0

    def test_asks_again_where_a_running_job_fell_silent(self, queued, sweep, mailbox, now):
        report(queued, "STARTED", now=now)
        assert sweep(now + timedelta(seconds=40))["sent"] == 1
        assert mailbox.orders("xen1")[0].job_id == str(queued.id)

    def test_leaves_ended_jobs_alone(self, queued, sweep, now):
        report(queued, "SUCCEEDED")
        assert sweep(now + timedelta(hours=1))["sent"] == 0

    def test_sends_what_a_dead_broker_kept(
        self, order_machine, now, request, django_capture_on_commit_callbacks, sweep
    ):
        with django_capture_on_commit_callbacks(execute=True):
            job = order_machine()
        assert Job.objects.get().sent_at is None
        mailbox = request.getfixturevalue("mailbox")  # the broker is back
        assert sweep(now + timedelta(seconds=10))["sent"] == 1
        assert mailbox.orders("xen1")[0].job_id == str(job.id)
        job.refresh_from_db()
        assert (job.waiting_for, job.status) == ("", "QUEUED")

    def test_stops_at_a_dead_broker(self, order_machine, sweep, now):
        order_machine("web1")
        order_machine("web2")
        assert sweep(now + timedelta(hours=1))["sent"] == 0


class TestPlaceWaiting:
    def test_gives_the_machine_its_host_once_there_is_room(self, order_machine, xen1, sweep, mailbox, now):
        observe(xen1, free_memory="300")
        job = order_machine()
        assert sweep(now)["placed"] == 0
        observe(xen1, free_memory="3000")
        assert sweep(now)["placed"] == 1
        job.refresh_from_db()
        machine = Machine.objects.get()
        assert (job.status, job.host, job.waiting_for) == ("QUEUED", xen1, "")
        assert (machine.state, machine.host, machine.state_reason) == ("BUILDING", xen1, "")
        assert mailbox.orders("xen1")[0].seed.password_hash == "$6$salt$hash"
        xen1.refresh_from_db()
        assert xen1.memory_reserved_mib == 256

    def test_first_come_first_served(self, order_machine, xen1, sweep, now):
        observe(xen1, free_memory="300")
        second = order_machine("second", now=now + timedelta(seconds=1))
        first = order_machine("first")
        observe(xen1, free_memory="350")
        sweep(now)
        first.refresh_from_db()
        second.refresh_from_db()
        assert (first.status, second.status) == ("QUEUED", "PENDING")
        assert "xen1" in second.waiting_for

    def test_keeps_the_reason_fresh(self, order_machine, xen1, sweep, now):
        Host.objects.update(state="DRAINING")
        job = order_machine()
        assert "does not accept new machines" in job.waiting_for
        Host.objects.update(state="ACTIVE")
        sweep(now + timedelta(minutes=5), is_heard=False)
        job.refresh_from_db()
        assert "is not responding" in job.waiting_for


class TestGiveUp:
    LATE = timedelta(seconds=661)

    def test_a_create_nobody_answers_for_keeps_what_it_holds(self, queued, sweep, lab, xen1, now, alice):
        report(queued, "STARTED")
        assert sweep(now + timedelta(seconds=660))["given_up"] == 0
        assert sweep(now + self.LATE)["given_up"] == 1
        queued.refresh_from_db()
        xen1.refresh_from_db()
        assert (queued.status, queued.error_code) == ("FAILED", "NO_ANSWER")
        assert Machine.objects.get().state == "FAILED"
        assert quotas.headroom(project=lab).reserved.machines == 1
        assert xen1.memory_reserved_mib == 256
        assert Address.objects.exists()
        # deleting it asks the host, and gives back when the host says so
        report(operations.delete_machine(user=alice, machine_id=queued.machine_id, now=now), "SUCCEEDED")
        assert quotas.headroom(project=lab).reserved.machines == 0

    def test_a_delete_nobody_answers_for_can_be_asked_again(self, web1, alice, sweep, now):
        job = operations.delete_machine(user=alice, machine_id=web1.id, now=now)
        report(job, "STARTED")
        sweep(now + timedelta(seconds=361))
        web1.refresh_from_db()
        assert web1.state == "FAILED"

    def test_a_verb_nobody_answers_for_leaves_the_machine_ready(self, web1, alice, sweep, now):
        report(operations.act(action="reboot", user=alice, machine_id=web1.id, now=now), "STARTED")
        sweep(now + timedelta(seconds=361))
        web1.refresh_from_db()
        assert (web1.state, Job.objects.filter(status="FAILED").count()) == ("READY", 1)

    def test_a_queued_job_waits_for_its_host(self, queued, sweep, now):
        assert sweep(now + timedelta(minutes=14))["given_up"] == 0
        queued.refresh_from_db()
        assert queued.status == "QUEUED"

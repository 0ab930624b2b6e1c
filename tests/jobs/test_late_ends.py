"""A host that is silent keeps its jobs open, and its signed end settles what was left open, however late."""

from datetime import timedelta

import pytest

from tests.fixtures import heard_until, observe, report
from webxen.core.models import AuditEntry
from webxen.diagnostics import verify
from webxen.inventory.models import Host
from webxen.jobs import observing, operations
from webxen.jobs.models import Job, JobEvent
from webxen.machines.lifecycle import allowed_actions
from webxen.machines.models import Machine
from webxen.quotas import queries as quotas
from webxen.quotas.models import Reservation
from worker import contract

#: beyond a create's deadline and the grace after it
LATE = timedelta(seconds=661)
HOUR = timedelta(hours=1)


def seen(machine, power="RUNNING"):
    name = f"{machine.name}-{machine.id.hex[:8]}"
    return contract.DomainSeen(name, str(machine.id), 7, power, machine.memory_mib, 1, 9.0)


def show(host, *domains, now, jobs=()):
    """Let the host say which domains it has, and at which jobs it works."""
    said = contract.Observation(
        host=host.name,
        facts={"free_memory": "8192"},
        pools=(contract.PoolSeen("local", "FILE", 204800, 204800),),
        bridges=("xenbr0",),
        domains=domains,
        holdings=contract.Holdings(jobs=tuple(jobs)),
    )
    observing.apply_observation(host=host, observation=said, now=now)


def allowed(machine, user):
    machine = Machine.objects.get(id=machine.id)
    reasons = allowed_actions(machine=machine, open_job=None, user=user)
    return {action for action, why in reasons.items() if not why} - {"console", "edit"}


@pytest.fixture
def given_up(order_machine, now):
    """A create whose host was heard all the time and never said how it ended."""
    job = order_machine()
    report(job, "STARTED")
    heard_until(now + LATE)
    assert operations.sweep(now=now + LATE)["given_up"] == 1
    job.refresh_from_db()
    return job


class TestSilentHost:
    @pytest.mark.parametrize("event", ["STARTED", None])
    def test_keeps_its_jobs_open_however_long_it_is_silent(self, order_machine, mailbox, now, event):
        job = order_machine()
        Job.objects.update(sent_at=now)
        if event:
            report(job, event)
        for hours in (1, 24, 24 * 30):
            assert operations.sweep(now=now + HOUR * hours)["given_up"] == 0
        job.refresh_from_db()
        assert job.status == ("RUNNING" if event else "QUEUED")
        assert Machine.objects.get().state == "BUILDING"

    def test_has_its_time_again_from_its_first_word_on(self, order_machine, xen1, mailbox, now):
        job = order_machine()
        report(job, "STARTED")
        back = now + HOUR
        observe(xen1, now=back)
        assert operations.sweep(now=back)["given_up"] == 0
        heard_until(back + LATE - timedelta(seconds=2))
        assert operations.sweep(now=back + LATE - timedelta(seconds=2))["given_up"] == 0
        heard_until(back + LATE)
        assert operations.sweep(now=back + LATE)["given_up"] == 1

    def test_a_queued_job_is_sent_once_it_is_back_and_begun_then(self, order_machine, xen1, mailbox, now):
        job = order_machine()
        Job.objects.update(sent_at=now)
        back = now + HOUR * 5
        observe(xen1, now=back)
        assert operations.sweep(now=back)["sent"] == 1
        assert [order.job_id for order in mailbox.orders("xen1")] == [str(job.id)]
        report(job, "STARTED", now=back)
        report(job, "SUCCEEDED", power="RUNNING", now=back)
        assert Machine.objects.get().state == "READY"

    def test_is_not_sent_an_order_that_already_lies_on_its_queue(self, order_machine, mailbox, now):
        order_machine()
        Job.objects.update(sent_at=now)
        counts = [
            operations.sweep(now=now + timedelta(seconds=seconds))["sent"] for seconds in range(40, 1000, 10)
        ]
        assert sum(counts) == 3  # 32 before: one every 30 s, each of which lay there until it came back

    def test_the_end_in_the_first_minute_after_it_is_the_job_s_end(self, order_machine, xen1, mailbox, now):
        job = order_machine()
        report(job, "STARTED")
        operations.sweep(now=now + HOUR)
        observe(xen1, now=now + HOUR)
        operations.sweep(now=now + HOUR)
        assert report(job, "SUCCEEDED", power="RUNNING", now=now + HOUR)
        assert (job.status, Machine.objects.get().state) == ("SUCCEEDED", "READY")

    def test_is_not_given_up_while_its_new_key_is_not_accepted(self, order_machine, xen1, now):
        job = order_machine()
        report(job, "STARTED")
        Host.objects.update(state="NEW")
        heard_until(now + HOUR)
        assert operations.sweep(now=now + HOUR)["given_up"] == 0

    def test_a_job_that_reports_is_not_said_to_have_no_answer(self, order_machine, now):
        job = order_machine()
        report(job, "STARTED")
        report(job, "STEP", step="DISK", now=now + LATE - timedelta(seconds=5))
        heard_until(now + LATE)
        assert operations.sweep(now=now + LATE)["given_up"] == 0


class TestClock:
    @pytest.mark.parametrize("jump", [HOUR, HOUR * 24 * 400])
    def test_set_forward_ends_no_job(self, make_machine, order_machine, alice, xen1, now, jump):
        """As when the portal was suspended: the sweep comes before any host could be heard."""
        jobs = [order_machine(f"new{number}") for number in range(3)]
        jobs += [operations.act(action="reboot", user=alice, machine_id=make_machine("old").id, now=now)]
        for job in jobs:
            report(job, "STARTED")
        Job.objects.update(sent_at=now)
        assert operations.sweep(now=now + jump)["given_up"] == 0
        observe(xen1, now=now + jump + timedelta(seconds=10))
        for seconds in (11, 60, 200):
            heard_until(now + jump + timedelta(seconds=seconds))
            assert operations.sweep(now=now + jump + timedelta(seconds=seconds))["given_up"] == 0
        for job in jobs:
            assert report(job, "SUCCEEDED", power="RUNNING", now=now + jump + timedelta(seconds=210))

    def test_set_back_again_leaves_no_job_open_for_ever(self, order_machine, xen1, now):
        observe(xen1, now=now + HOUR * 24)  # the clock was wrong for a moment
        job = order_machine(now=now)
        report(job, "STARTED", now=now)
        observe(xen1, now=now)
        heard_until(now + LATE)
        assert operations.sweep(now=now + LATE)["given_up"] == 1

    def test_set_back_again_leaves_no_job_unsent(self, order_machine, mailbox, now):
        order_machine()
        Job.objects.update(sent_at=now + HOUR * 24)
        heard_until(now + timedelta(seconds=40))
        assert operations.sweep(now=now + timedelta(seconds=40))["sent"] == 1


class TestLateEndOfACreate:
    def test_makes_the_machine_ready_and_keeps_no_password_hash(
        self, given_up, lab, xen1, alice, client, now
    ):
        assert (given_up.status, given_up.error_code) == ("FAILED", "NO_ANSWER")
        assert Machine.objects.get().seed is None  # nothing sends it again
        late = now + HOUR
        assert report(given_up, "SUCCEEDED", power="RUNNING", now=late, config="name = 'web1'")
        machine = Machine.objects.get()
        assert (given_up.status, given_up.error_code, given_up.progress) == ("SUCCEEDED", "", 100)
        assert (machine.state, machine.power, machine.state_reason) == ("READY", "RUNNING", "")
        assert machine.config == "name = 'web1'"
        assert allowed(machine, alice) == {"shutdown", "reboot", "poweroff", "delete"}
        assert Reservation.objects.get().status == "COMMITTED"
        assert quotas.headroom(project=lab).reserved.machines == 1
        xen1.refresh_from_db()
        assert xen1.memory_reserved_mib == 256
        line = AuditEntry.objects.get(action="CREATE_SUCCEEDED")
        assert line.detail == "The host reported this after the job had been given up."
        events = list(JobEvent.objects.filter(job=given_up).values_list("event", flat=True))
        assert events[-2:] == ["FAILED", "SUCCEEDED"]
        client.force_login(alice)
        page = client.get(f"/machines/{machine.id}/").content.decode()
        assert "NO_ANSWER" not in page

    def test_is_heard_once(self, given_up, now):
        assert report(given_up, "SUCCEEDED", power="RUNNING")
        assert not report(given_up, "SUCCEEDED", power="RUNNING")
        assert not report(given_up, "FAILED", error_code="DISK_FULL")
        assert Machine.objects.get().moves.filter(to_state="READY").count() == 1

    def test_that_it_failed_gives_back_what_it_held_with_the_true_reason(self, given_up, lab, xen1, now):
        said = {"error_code": "DISK_FULL", "error_message": "The host's disk is full."}
        assert report(given_up, "FAILED", power="OFF", now=now + HOUR, **said)
        machine = Machine.objects.get()
        assert (given_up.error_code, machine.state) == ("DISK_FULL", "FAILED")
        assert machine.state_reason == "The host's disk is full."
        assert quotas.headroom(project=lab).reserved.machines == 0
        xen1.refresh_from_db()
        assert xen1.memory_reserved_mib == 0

    def test_that_it_was_cancelled_forgets_the_machine(self, given_up, lab, now):
        assert report(given_up, "CANCELLED", power="OFF", now=now + HOUR)
        assert Machine.objects.get().state == "DELETED"
        assert quotas.headroom(project=lab).reserved.machines == 0

    @pytest.mark.parametrize("ended", [False, True])
    def test_moves_nothing_once_somebody_deletes_it(self, given_up, alice, lab, now, ended):
        job = operations.delete_machine(user=alice, machine_id=given_up.machine_id, now=now + LATE)
        if ended:
            report(job, "SUCCEEDED")
        assert report(given_up, "SUCCEEDED", power="RUNNING", now=now + HOUR)
        machine = Machine.objects.get()
        assert machine.state == ("DELETED" if ended else "DELETING")
        assert machine.seed is None
        assert quotas.headroom(project=lab).reserved.machines == (0 if ended else 1)

    def test_of_another_code_moves_nothing(self, order_machine):
        job = order_machine()
        report(job, "FAILED", error_code="DISK_FULL", power="OFF")
        assert not report(job, "SUCCEEDED", power="RUNNING")
        assert Machine.objects.get().state == "FAILED"


class TestLateEndOfADelete:
    @pytest.fixture
    def lost(self, web1, alice, now):
        job = operations.delete_machine(user=alice, machine_id=web1.id, now=now)
        report(job, "STARTED")
        heard_until(now + LATE)
        assert operations.sweep(now=now + LATE)["given_up"] == 1
        return job

    @pytest.mark.parametrize("is_seen", [False, True])
    def test_removes_the_machine(self, lost, web1, xen1, lab, now, is_seen):
        if is_seen:
            show(xen1, seen(web1), now=now + LATE)
        assert report(lost, "SUCCEEDED", now=now + HOUR)
        web1.refresh_from_db()
        assert (lost.status, web1.state) == ("SUCCEEDED", "DELETED")
        assert quotas.headroom(project=lab).reserved.machines == 0

    def test_that_it_was_cancelled_makes_it_good_again(self, lost, web1, now):
        assert report(lost, "CANCELLED", power="RUNNING", now=now + HOUR)
        web1.refresh_from_db()
        assert (web1.state, web1.power) == ("READY", "RUNNING")

    def test_that_it_failed_says_why(self, lost, web1, now):
        assert report(lost, "FAILED", error_code="LEASE_HELD", error_message="It is held.", now=now + HOUR)
        web1.refresh_from_db()
        assert (web1.state, web1.state_reason) == ("FAILED", "It is held.")


class TestLateEndOfAVerb:
    def test_of_a_start_counts_what_runs(self, web1, alice, xen1, lab, now):
        report(
            operations.act(action="shutdown", user=alice, machine_id=web1.id, now=now),
            "SUCCEEDED",
            power="OFF",
        )
        web1.refresh_from_db()
        job = operations.act(action="start", user=alice, machine_id=web1.id, now=now)
        report(job, "STARTED")
        heard_until(now + LATE)
        assert operations.sweep(now=now + LATE)["given_up"] == 1
        assert report(job, "SUCCEEDED", now=now + HOUR)
        web1.refresh_from_db()
        assert (job.status, web1.state, web1.power) == ("SUCCEEDED", "READY", "RUNNING")
        assert quotas.headroom(project=lab).running.vcpus == 1


class TestFailedAndRunning:
    def test_a_half_made_machine_that_runs_can_be_stopped(self, given_up, xen1, alice, now):
        machine = given_up.machine
        show(xen1, seen(machine), now=now + LATE + timedelta(seconds=10))
        assert allowed(machine, alice) == {"delete", "shutdown", "reboot", "poweroff"}
        assert Machine.objects.get().state == "FAILED"  # its host has not said that it is made

    @pytest.mark.parametrize(
        ("verb", "power"), [("shutdown", "OFF"), ("poweroff", "OFF"), ("reboot", "RUNNING")]
    )
    def test_it_is_as_good_as_any_other_once_its_host_has_done_so(
        self, given_up, xen1, alice, now, verb, power
    ):
        show(xen1, seen(given_up.machine), now=now + LATE + timedelta(seconds=10))
        asked_at = now + LATE + timedelta(seconds=20)
        job = operations.act(action=verb, user=alice, machine_id=given_up.machine_id, now=asked_at)
        assert report(job, "SUCCEEDED")
        machine = Machine.objects.get()
        assert (machine.state, machine.power) == ("READY", power)
        assert Reservation.objects.get().status == "COMMITTED"

    def test_one_that_holds_no_quota_stays_failed(self, order_machine, xen1, alice, lab, now):
        job = order_machine()
        report(job, "FAILED", error_code="DISK_FULL", power="UNKNOWN")
        show(xen1, seen(job.machine), now=now + timedelta(seconds=20))
        stop = operations.act(action="poweroff", user=alice, machine_id=job.machine_id, now=now + LATE)
        report(stop, "SUCCEEDED")
        assert Machine.objects.get().state == "FAILED"
        assert quotas.headroom(project=lab).reserved.machines == 0

    @pytest.fixture
    def undeleted(self, web1, alice, now):
        job = operations.delete_machine(user=alice, machine_id=web1.id, now=now)
        report(job, "STARTED")
        report(job, "FAILED", error_code="LEASE_HELD", error_message="Its disk is held.")
        web1.refresh_from_db()
        assert web1.state == "FAILED"
        return web1

    def test_a_machine_whose_delete_failed_is_ready_once_it_is_seen_running(
        self, undeleted, xen1, alice, now
    ):
        show(xen1, seen(undeleted), now=now + timedelta(seconds=20))
        undeleted.refresh_from_db()
        assert undeleted.state == "READY"
        assert allowed(undeleted, alice) == {"delete", "shutdown", "reboot", "poweroff"}

    def test_but_not_while_its_host_still_works_at_it(self, undeleted, xen1, now):
        at_work = contract.JobSeen("0" * 36, str(undeleted.id))
        show(xen1, seen(undeleted), now=now + timedelta(seconds=20), jobs=[at_work])
        undeleted.refresh_from_db()
        assert undeleted.state == "FAILED"

    def test_and_not_where_its_disks_may_be_gone(self, undeleted, xen1, now):
        show(xen1, now=now + timedelta(seconds=20))
        undeleted.refresh_from_db()
        assert (undeleted.state, undeleted.power) == ("FAILED", "OFF")

    def test_verify_names_it(self, given_up, xen1, now):
        at = now + LATE + timedelta(seconds=10)
        show(xen1, seen(given_up.machine), now=at)
        found = verify.verify(host=None, fixed_by=None, now=at).findings
        assert [one.machine for one in found if one.code == "MACHINE_FAILED_RUNS"] == ["web1"]


class TestKeptSeed:
    def test_is_found_and_removed(self, web1, dana, now):
        Machine.objects.update(seed={"password_hash": "$6$salt$hash"})
        found = verify.verify(host=None, fixed_by=None, now=now).findings
        assert "SEED_KEPT" in {one.code for one in found}
        verdict = verify.verify(host=None, fixed_by=dana, now=now)
        assert "SEED_KEPT" not in {one.code for one in verdict.findings}
        assert Machine.objects.get().seed is None
        assert AuditEntry.objects.filter(action="MEND_SEED_KEPT", actor=dana).count() == 1

    def test_of_a_machine_that_is_being_made_is_not(self, order_machine, now):
        order_machine()
        found = verify.verify(host=None, fixed_by=None, now=now).findings
        assert "SEED_KEPT" not in {one.code for one in found}

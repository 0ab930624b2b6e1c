"""A machine on disks of one host moves switched off: asked for, carried over, and what is kept is let go."""

from datetime import timedelta

import pytest

from tests.fixtures import report
from tests.moves import domain, listens, show, tell, tell_cleaned
from webxen.core.errors import ForbiddenError, NotFoundError
from webxen.core.models import AuditEntry
from webxen.fleet import evacuation, plans
from webxen.jobs import opening, operations
from webxen.jobs.models import Job
from webxen.machines.models import Machine
from webxen.migration import kept_disks
from webxen.migration import operations as migration
from webxen.migration.models import Move, MoveSide
from webxen.quotas.models import Reservation
from worker import contract

OVER = {"go_passed": True, "closed": True, "phase": "REPORTED", "domains": ()}


@pytest.fixture
def apart(pair, web1):
    """Each host has its own pool; web1 runs on xen1."""
    show(pair[0], domain(web1), shared="")
    show(pair[1], shared="")
    return pair


@pytest.fixture
def off(apart, web1):
    Machine.objects.filter(id=web1.id).update(power="OFF")
    show(apart[0], shared="")
    return web1


def move_of(job):
    return Move.objects.get(job=job)


def carry_over(job, machine, *, booted):
    """Both hosts tell how it went."""
    there = (domain(machine, seconds=0.1),) if booted else ()
    listens(job)
    facts = OVER | {"domains": there, "booted": booted}
    tell(job, "TARGET", "SUCCEEDED", facts=facts)
    tell(job, "SOURCE", "SUCCEEDED", facts=OVER)


@pytest.fixture
def answered(django_capture_on_commit_callbacks, mailbox):
    """What was posted to a host while something was done."""

    def post(host, act):
        with django_capture_on_commit_callbacks(execute=True):
            act()
        return mailbox.orders(host)

    return post


class TestAsking:
    def test_a_running_machine_is_not_shut_down_unless_that_was_said(self, start_move, apart):
        with pytest.raises(opening.ActionRefusedError, match="would be off for about") as refused:
            start_move()
        assert "choose “Switched off” (method cold)" in str(refused.value)
        assert not Job.objects.filter(kind="MIGRATE").exists()
        for method in ("LIVE", "SUSPENDED"):
            with pytest.raises(opening.ActionRefusedError, match="only while switched off"):
                start_move(method=method)

    def test_asked_for_it_says_so_to_both_hosts(self, start_move, apart, web1, answered):
        jobs = []
        (receive,) = answered("xen2", lambda: jobs.append(start_move(method="COLD", rate_mib_s=7)))
        (migrate,) = answered("xen1", lambda: listens(jobs[0]))
        (disk,) = web1.disks.all()
        for order in (receive, migrate):
            assert (order.method, order.copied, order.restarts) == ("COLD", (str(disk.id),), True)
            assert order.deadline_seconds > disk.size_gib * 1024 / 7
        assert migrate.rate_mib_s == 7

    def test_one_that_is_off_moves_without_a_word(self, start_move, off):
        move = move_of(start_move())
        assert (move.method, move.restarts, len(move.copied)) == ("COLD", False, 1)

    def test_on_disks_that_both_see_nothing_is_copied(self, start_move, pair, web1):
        Machine.objects.filter(id=web1.id).update(power="OFF")
        assert move_of(start_move()).copied == []

    def test_its_project_pays_for_it_once(self, start_move, off):
        held = ("holder", "status", "vcpus", "memory_mib", "disk_gib")
        before = list(Reservation.objects.values(*held))
        carry_over(start_move(), off, booted=False)
        assert list(Reservation.objects.values(*held)) == before

    def test_charlie_cannot(self, off, charlie, elsewhere, now):
        with pytest.raises(NotFoundError):
            migration.migrate_machine(
                user=charlie, machine_id=off.id, host_name="xen2", method="COLD", now=now
            )


class TestEnd:
    def test_booted_there_the_source_is_told_which_disks_may_go(self, start_move, apart, web1, answered, now):
        job = start_move(method="COLD")
        carry_over(job, web1, booted=True)
        web1.refresh_from_db()
        assert (job.status, web1.host, web1.power) == ("SUCCEEDED", apart[1], "RUNNING")
        order = answered("xen1", lambda: operations.sweep(now=now))[-1]
        (disk,) = web1.disks.all()
        assert (order.kind, order.side, order.verdict) == ("SETTLE_MOVE", "SOURCE", "MOVED")
        assert order.discards == (str(disk.id),)
        assert order.job_id == contract.discard_job_id(str(job.id))
        assert order.fence == job.fence
        assert move_of(job).is_keeping
        tell(job, "SOURCE", "SUCCEEDED", job_id=order.job_id, facts=OVER)
        assert move_of(job).discarded_at == now
        assert not move_of(job).is_keeping
        operations.sweep(now=now + timedelta(seconds=5))
        assert MoveSide.objects.get(side="SOURCE").cleaning == "DONE"

    def test_one_that_is_off_is_kept_until_it_has_booted_there(self, start_move, off, alice, now):
        job = start_move()
        carry_over(job, off, booted=False)
        off.refresh_from_db()
        assert (job.status, off.power, off.host.name) == ("SUCCEEDED", "OFF", "xen2")
        operations.sweep(now=now)
        assert move_of(job).discard_asked_at is None
        start = operations.act(action="start", user=alice, machine_id=off.id, now=now)
        report(start, "SUCCEEDED", step="LOGIN", power="RUNNING")
        operations.sweep(now=now)
        assert move_of(job).discard_asked_at == now

    def test_a_start_without_a_prompt_proves_nothing(self, start_move, off, alice, now):
        job = start_move()
        carry_over(job, off, booted=False)
        start = operations.act(action="start", user=alice, machine_id=off.id, now=now)
        report(start, "SUCCEEDED", step="KERNEL", power="RUNNING")
        operations.sweep(now=now)
        assert move_of(job).discard_asked_at is None

    def test_not_started_there_it_is_off_there_and_the_page_says_why(self, start_move, apart, web1, now):
        job = start_move(method="COLD")
        listens(job)
        tell(job, "SOURCE", "SUCCEEDED", facts=OVER)
        why = "It ended while it was booting."
        tell(job, "TARGET", "FAILED", error_code="GUEST_DIED", error_message=why, facts=OVER)
        web1.refresh_from_db()
        assert (job.status, web1.host, web1.power) == ("SUCCEEDED", apart[1], "OFF")
        assert move_of(job).why.endswith(why)
        operations.sweep(now=now)
        assert move_of(job).is_keeping

    def test_a_target_that_boots_is_waited_for(self, start_move, apart, web1, now):
        job = start_move(method="COLD")
        listens(job)
        tell(job, "TARGET", "STEP", facts=OVER | {"domains": None})
        tell(job, "SOURCE", "SUCCEEDED", facts=OVER)
        later = now + timedelta(seconds=100)
        show(apart[1], domain(web1, seconds=1.0), shared="", now=later)
        show(apart[0], shared="", now=later)
        operations.sweep(now=later)
        assert move_of(job).phase == "MOVING"

    def test_shut_down_for_nothing_the_source_is_told_to_start_it_again(self, start_move, apart, answered):
        job = start_move(method="COLD")
        listens(job)
        tell(job, "TARGET", "FAILED", error_code="COPY_DIFFERS", facts={"closed": True, "domains": ()})
        sent = answered("xen1", lambda: tell(job, "SOURCE", "FAILED", facts={"closed": True, "domains": ()}))
        assert (sent[-1].kind, sent[-1].verdict, sent[-1].discards) == ("SETTLE_MOVE", "STAYED", ())
        tell_cleaned(job, "TARGET")
        tell_cleaned(job, "SOURCE", facts={"closed": True, "domains": (domain(job.machine),)})
        assert (job.status, job.error_code) == ("FAILED", "COPY_DIFFERS")
        assert Machine.objects.get(id=job.machine_id).power == "RUNNING"

    def test_a_deleted_machine_needs_its_old_disks_no_more(self, start_move, off, alice, now):
        job = start_move()
        carry_over(job, off, booted=False)
        deletion = operations.delete_machine(user=alice, machine_id=off.id, now=now)
        report(deletion, "SUCCEEDED")
        operations.sweep(now=now)
        assert MoveSide.objects.get(side="SOURCE").cleaning == "ASKED"


class TestLetGo:
    @pytest.fixture
    def kept(self, start_move, off):
        job = start_move()
        carry_over(job, off, booted=False)
        return job

    def test_staff_need_not_wait_for_a_boot(self, kept, dana, answered, now):
        (*_, order) = answered("xen1", lambda: kept_disks.let_go(user=dana, job_id=kept.id, now=now))
        assert len(order.discards) == 1
        assert AuditEntry.objects.get(action="DISKS_LET_GO").actor == dana

    def test_refused_by_the_host_it_can_be_asked_again(self, kept, dana, now):
        kept_disks.let_go(user=dana, job_id=kept.id, now=now)
        first = MoveSide.objects.get(side="SOURCE").cleaning_job
        tell(kept, "SOURCE", "FAILED", job_id=str(first), error_message="The machine is here.")
        assert move_of(kept).is_keeping
        kept_disks.let_go(user=dana, job_id=kept.id, now=now)
        assert MoveSide.objects.get(side="SOURCE").cleaning_job != first

    def test_it_cannot_come_back_before(self, kept, off, dana, now):
        with pytest.raises(Exception, match="still has the machine's disks from an earlier move"):
            migration.migrate_machine(user=dana, machine_id=off.id, host_name="xen1", now=now)

    def test_nothing_to_let_go_is_said(self, kept, dana, now):
        Move.objects.update(discarded_at=now)
        with pytest.raises(opening.ActionRefusedError):
            kept_disks.let_go(user=dana, job_id=kept.id, now=now)

    def test_alice_cannot_and_charlie_sees_none(self, kept, alice, charlie, elsewhere, now):
        with pytest.raises(ForbiddenError):
            kept_disks.let_go(user=alice, job_id=kept.id, now=now)
        with pytest.raises(NotFoundError):
            kept_disks.let_go(user=charlie, job_id=kept.id, now=now)


class TestDrain:
    def test_shuts_nothing_down_unless_that_was_ticked(self, apart, web1, dana, now):
        plan = plans.plan_drain(user=dana, host_id=apart[0].id, now=now)
        assert not plan.movable
        assert "off for about 1 min" in plan.stuck[0].why
        evacuation.drain_host(user=dana, host_id=apart[0].id, now=now)
        assert not Job.objects.filter(kind="MIGRATE").exists()

    def test_ticked_the_plan_says_it_beforehand_and_it_moves(self, apart, web1, dana, now):
        plan = plans.plan_drain(user=dana, host_id=apart[0].id, may_shut_down=True, now=now)
        (step,) = plan.movable
        assert (step.method, step.target) == ("COLD", "xen2")
        assert step.away_seconds > 40
        evacuation.drain_host(user=dana, host_id=apart[0].id, may_shut_down=True, now=now)
        assert Move.objects.get().restarts

    def test_ticked_those_that_are_off_go_too(self, apart, off, dana, now):
        assert "The machine is off" in plans.plan_drain(user=dana, host_id=apart[0].id, now=now).stuck[0].why
        evacuation.drain_host(user=dana, host_id=apart[0].id, may_shut_down=True, now=now)
        assert not Move.objects.get().restarts

"""Running and allocated counted apart, limits below use, lines that add up, and drift that is shown."""

from dataclasses import replace
from uuid import uuid4

import pytest
from django.db import DatabaseError, connection, transaction

from webxen.core.errors import ForbiddenError
from webxen.core.models import AuditEntry
from webxen.quotas import operations, queries
from webxen.quotas.drift import Held, What
from webxen.quotas.models import Quota, QuotaEntry, Reservation
from webxen.quotas.shortage import Figures, Running, RunningLimit

WIDE = Figures(machines=10, vcpus=16, memory_mib=4096, disk_gib=100)


def take(project, now, vcpus=1, memory_mib=1024, disk_gib=10, **more):
    holder = uuid4()
    operations.reserve(
        project=project,
        holder=holder,
        vcpus=vcpus,
        memory_mib=memory_mib,
        disk_gib=disk_gib,
        now=now,
        **more,
    )
    return holder


def run_at_most(project, dana, now, *, vcpus=None, memory_mib=None):
    operations.set_limits(
        project=project, limits=WIDE, running=RunningLimit(vcpus, memory_mib), staff=dana, now=now
    )


def running(project):
    return queries.headroom(project=project).running


def held(project, **changed):
    plain = Held(project.id, "web1", vcpus=1, memory_mib=1024, disk_gib=10, is_running=True)
    return replace(plain, **changed)


class TestRunning:
    def test_is_counted_apart_from_allocated(self, lab, now):
        holder = take(lab, now)
        assert running(lab) == Running(1, 1024)
        assert operations.release_running(holder=holder, now=now)
        assert not operations.release_running(holder=holder, now=now)
        assert running(lab) == Running(0, 0)
        assert queries.headroom(project=lab).reserved == Figures(1, 1, 1024, 10)
        assert operations.hold_running(holder=holder, now=now)
        assert not operations.hold_running(holder=holder, now=now)
        assert running(lab) == Running(1, 1024)
        operations.release(holder=holder, now=now)
        assert running(lab) == Running(0, 0)

    def test_a_limit_of_its_own_refuses_the_start_with_the_shortage(self, lab, dana, now):
        run_at_most(lab, dana, now, vcpus=2, memory_mib=1536)
        first = take(lab, now)
        operations.release_running(holder=first, now=now)
        take(lab, now, vcpus=2)
        with pytest.raises(operations.QuotaExceededError) as caught:
            operations.hold_running(holder=first, now=now)
        assert str(caught.value) == (
            "1 running vCPU over quota: 2 of 2 in use;"
            " 512 MiB of running memory over quota: 1 GiB of 1.5 GiB in use"
        )
        assert running(lab) == Running(2, 1024)

    def test_a_create_takes_both(self, lab, dana, now):
        run_at_most(lab, dana, now, vcpus=1)
        take(lab, now)
        with pytest.raises(operations.QuotaExceededError, match="1 running vCPU over quota: 1 of 1 in use"):
            take(lab, now)
        assert queries.headroom(project=lab).reserved.machines == 1

    def test_what_is_seen_running_is_counted_above_the_limit_and_shown(self, lab, dana, now):
        run_at_most(lab, dana, now, vcpus=1)
        first = take(lab, now)
        operations.release_running(holder=first, now=now)
        second = take(lab, now)
        assert operations.hold_running(holder=first, is_observed=True, now=now)
        quota = Quota.objects.get(project=lab)
        assert (quota.running_vcpus_reserved, quota.running_vcpus_overdraft) == (2, 1)
        operations.release_running(holder=second, now=now)
        assert Quota.objects.get(project=lab).running_vcpus_overdraft == 0

    def test_one_who_holds_nothing_cannot_start(self, lab, now):
        with pytest.raises(operations.NothingHeldError):
            operations.hold_running(holder=uuid4(), now=now)
        assert not operations.hold_running(holder=uuid4(), is_observed=True, now=now)


class TestChange:
    def change(self, holder, now, vcpus=1, memory_mib=1024, disk_gib=10):
        operations.change(holder=holder, vcpus=vcpus, memory_mib=memory_mib, disk_gib=disk_gib, now=now)

    def test_moves_allocated_and_running(self, lab, now):
        holder = take(lab, now)
        self.change(holder, now, vcpus=3, memory_mib=512)
        assert queries.headroom(project=lab).reserved == Figures(1, 3, 512, 10)
        assert running(lab) == Running(3, 512)

    def test_of_a_machine_that_is_off_leaves_running_alone(self, lab, now):
        holder = take(lab, now, is_running=False)
        self.change(holder, now, vcpus=3)
        assert running(lab) == Running(0, 0)

    def test_is_refused_whole_where_one_figure_does_not_fit(self, lab, now):
        holder = take(lab, now)
        with pytest.raises(operations.QuotaExceededError) as caught:
            self.change(holder, now, vcpus=2, disk_gib=101)
        assert str(caught.value) == "1 GiB of disk over quota: 10 GiB of 100 GiB used"
        assert queries.headroom(project=lab).reserved == Figures(1, 1, 1024, 10)
        assert Reservation.objects.get(holder=holder).vcpus == 1

    def test_shrinks_even_above_a_lowered_limit(self, lab, dana, now):
        holder = take(lab, now, vcpus=8)
        operations.set_limits(project=lab, limits=replace(WIDE, vcpus=2), staff=dana, now=now)
        self.change(holder, now, vcpus=5)
        quota = Quota.objects.get(project=lab)
        assert (quota.vcpus_reserved, quota.vcpus_overdraft) == (5, 3)
        with pytest.raises(operations.QuotaExceededError, match="4 vCPUs over quota: 5 of 2 used"):
            self.change(holder, now, vcpus=6)

    def test_of_what_was_given_back_is_refused(self, lab, now):
        holder = take(lab, now)
        operations.release(holder=holder, now=now)
        with pytest.raises(operations.NothingHeldError):
            self.change(holder, now)


class TestLoweredLimit:
    def test_leaves_what_runs_and_refuses_more(self, lab, dana, now):
        first, _ = take(lab, now), take(lab, now)
        operations.set_limits(project=lab, limits=Figures(1, 1, 1024, 10), staff=dana, now=now)
        quota = Quota.objects.get(project=lab)
        assert (quota.machines_reserved, quota.machines_limit, quota.machines_overdraft) == (2, 1, 1)
        with pytest.raises(operations.QuotaExceededError, match="2 machines over quota: 2 of 1 used"):
            take(lab, now)
        operations.release(holder=first, now=now)
        assert Quota.objects.get(project=lab).memory_mib_overdraft == 0
        with pytest.raises(operations.QuotaExceededError, match="1 machine over quota: 1 of 1 used"):
            take(lab, now)

    def test_raised_again_is_no_overdraft(self, lab, dana, now):
        take(lab, now)
        operations.set_limits(project=lab, limits=Figures(0, 0, 0, 0), staff=dana, now=now)
        operations.set_limits(project=lab, limits=WIDE, staff=dana, now=now)
        assert Quota.objects.get(project=lab).machines_overdraft == 0
        take(lab, now)

    def test_alice_and_charlie_cannot(self, lab, alice, charlie, now):
        for person in (alice, charlie):
            with pytest.raises(ForbiddenError):
                operations.set_limits(project=lab, limits=WIDE, staff=person, now=now)

    def test_of_running_is_lifted_just_so_far_by_an_approval(self, lab, dana, now):
        run_at_most(lab, dana, now, vcpus=1, memory_mib=1024)
        take(lab, now)
        operations.raise_to_fit(project=lab, need=Figures(1, 1, 512, 1), staff=dana, now=now)
        assert queries.headroom(project=lab).running_limit == RunningLimit(2, 1536)
        take(lab, now, memory_mib=512, disk_gib=1)


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
class TestDatabase:
    """Statements nobody should write; each is refused by the database itself."""

    def refuses(self, change):
        with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"UPDATE quotas_quota SET {change}")

    def test_refuses_an_overdraft_that_is_not_written_down(self, lab, dana, now):
        take(lab, now)
        run_at_most(lab, dana, now, vcpus=2)
        for change in (
            "vcpus_reserved = 17",
            "vcpus_reserved = vcpus_reserved + 16",
            "vcpus_overdraft = 1",
            "vcpus_limit = 0",
            "machines_reserved = -1",
            "running_vcpus_reserved = 3",
            "running_vcpus_overdraft = 1",
            "running_memory_mib_overdraft = 1",
        ):
            self.refuses(change)

    def test_refuses_any_forgetful_step_above_a_lowered_limit(self, lab, dana, now):
        take(lab, now, vcpus=8)
        operations.set_limits(project=lab, limits=replace(WIDE, vcpus=2), staff=dana, now=now)
        self.refuses("vcpus_reserved = vcpus_reserved + 1")
        self.refuses("vcpus_reserved = vcpus_reserved - 1")

    def test_refuses_to_change_a_line(self, lab, now):
        take(lab, now)
        with pytest.raises(DatabaseError, match="never changed"), transaction.atomic():
            QuotaEntry.objects.update(vcpus=0)


class TestLines:
    def test_add_up_to_the_columns_through_a_whole_life(self, lab, now):
        first, second = take(lab, now), take(lab, now, vcpus=2)
        operations.commit(holder=first, now=now)
        operations.change(holder=first, vcpus=4, memory_mib=2048, disk_gib=10, now=now)
        operations.release_running(holder=first, now=now)
        operations.hold_running(holder=first, now=now)
        operations.release(holder=second, now=now)
        assert [entry.kind for entry in QuotaEntry.objects.filter(holder=first)] == [
            "RESERVE",
            "COMMIT",
            "CHANGE",
            "UNHOLD",
            "HOLD",
        ]
        machine = held(lab, vcpus=4, memory_mib=2048)
        assert queries.drift(held_by_machines={first: machine}) == []

    def test_a_refusal_leaves_none(self, lab, now):
        with pytest.raises(operations.QuotaExceededError):
            take(lab, now, vcpus=99)
        assert not QuotaEntry.objects.exists()


class TestDrift:
    def test_names_each_difference_and_changes_nothing(self, lab, now):
        holder, gone, stranger = take(lab, now), take(lab, now), uuid4()
        machines = {holder: held(lab, vcpus=2, is_running=False), stranger: held(lab, name="db1")}
        found = queries.drift(held_by_machines=machines)
        assert {(drift.what, drift.holder) for drift in found} == {
            (What.FIGURES, holder),
            (What.RUNNING, holder),
            (What.HOLDS_WITHOUT_MACHINE, gone),
            (What.MACHINE_HOLDS_NOTHING, stranger),
        }
        assert queries.drift(held_by_machines=machines) == found

    def test_sees_columns_that_moved_alone(self, lab, now):
        holder = take(lab, now)
        Quota.objects.filter(project=lab).update(vcpus_reserved=5)
        found = queries.drift(held_by_machines={holder: held(lab)})
        assert [drift.sentence for drift in found] == [
            "The quota of lab counts 5 vCPUs; its reservations add up to 1 vCPUs.",
            "The quota of lab counts 5 vCPUs; its ledger adds up to 1 vCPUs.",
        ]

    def test_lets_be_what_nobody_knows(self, lab, now):
        holder, failed = take(lab, now), uuid4()
        machines = {holder: held(lab, is_running=None), failed: held(lab, may_hold_nothing=True)}
        assert queries.drift(held_by_machines=machines) == []


class TestSettleDrift:
    def test_makes_the_ledger_true_and_says_so(self, lab, dana, now):
        holder, gone, stranger = take(lab, now), take(lab, now), uuid4()
        Quota.objects.filter(project=lab).update(disk_gib_reserved=99)
        machines = {
            holder: held(lab, vcpus=3, is_running=False),
            stranger: held(lab, name="db1", vcpus=20),
        }
        settled = operations.settle_drift(staff=dana, held_by_machines=machines, now=now)
        assert queries.drift(held_by_machines=machines) == []
        assert AuditEntry.objects.filter(action="SETTLE_QUOTA", actor=dana).count() == len(settled) > 3
        quota = Quota.objects.get(project=lab)
        assert (quota.vcpus_reserved, quota.vcpus_overdraft) == (23, 7)
        assert Reservation.objects.get(holder=gone).status == "RELEASED"

    def test_alice_and_charlie_cannot(self, lab, alice, charlie, now):
        for person in (alice, charlie):
            with pytest.raises(ForbiddenError):
                operations.settle_drift(staff=person, held_by_machines={}, now=now)

"""The ledger's arithmetic under any order of events: columns, reservations and lines always agree.

A state machine keeps the plainest model there is, a dict of holders, and does to the ledger whatever
hypothesis thinks of: taking, committing, giving back, switching on and off, changing, lowering, raising.
"""

from collections.abc import Callable
from uuid import UUID, uuid4

import hypothesis.strategies as st
import pytest
from django.db import transaction
from hypothesis import HealthCheck, settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from tests.fixtures import NOW
from webxen.quotas import operations, queries
from webxen.quotas.models import Quota
from webxen.quotas.operations import QuotaExceededError
from webxen.quotas.shortage import Figures, RunningLimit

#: small numbers: the interesting things happen at the limit
FEW = st.integers(0, 4)
SOME = st.integers(1, 4)
MAYBE = st.none() | st.integers(0, 6)


class Plain:
    """What one holder has, as a child would write it down."""

    def __init__(self, vcpus: int, memory_mib: int, disk_gib: int, *, is_running: bool) -> None:
        self.vcpus, self.memory_mib, self.disk_gib = vcpus, memory_mib, disk_gib
        self.is_running = is_running


class Ledger(RuleBasedStateMachine):
    """One project; `project` and `staff` are set by the test."""

    project = staff = None
    holders = Bundle("holders")

    def __init__(self) -> None:
        super().__init__()
        self.plain: dict[UUID, Plain] = {}
        self.limits(Figures(3, 6, 6, 6), RunningLimit(4, None))

    def limits(self, limits: Figures, running: RunningLimit) -> None:
        operations.set_limits(project=self.project, limits=limits, running=running, staff=self.staff, now=NOW)

    # --- what is held, and what may be ------------------------------------------------------------

    def sums(self) -> dict[str, int]:
        there, on = list(self.plain.values()), [one for one in self.plain.values() if one.is_running]
        return {
            "machines": len(there),
            "vcpus": sum(one.vcpus for one in there),
            "memory_mib": sum(one.memory_mib for one in there),
            "disk_gib": sum(one.disk_gib for one in there),
            "running_vcpus": sum(one.vcpus for one in on),
            "running_memory_mib": sum(one.memory_mib for one in on),
        }

    def fits(self, **more: int) -> bool:
        """Would what grows stay inside its limit?"""
        quota, held = Quota.objects.get(project=self.project), self.sums()
        caps = {name: getattr(quota, f"{name}_limit") for name in more}
        return all(
            step <= 0 or caps[name] is None or held[name] + step <= caps[name] for name, step in more.items()
        )

    def tries(self, act, *, fits: bool) -> bool:
        """Do it; it must be refused exactly where it does not fit."""
        said = ""
        try:
            with transaction.atomic():
                act()
        except QuotaExceededError as refused:
            said = str(refused)
        assert bool(said) != fits, said
        assert fits or "over quota" in said
        return fits

    # --- what happens -----------------------------------------------------------------------------

    @rule(target=holders, vcpus=SOME, memory_mib=SOME, disk_gib=FEW, is_running=st.booleans())
    def reserve(self, vcpus: int, memory_mib: int, disk_gib: int, is_running: bool) -> UUID:
        holder, on = uuid4(), int(is_running)
        figures = {"vcpus": vcpus, "memory_mib": memory_mib, "disk_gib": disk_gib}
        fits = self.fits(machines=1, **figures, running_vcpus=vcpus * on, running_memory_mib=memory_mib * on)

        def act() -> None:
            operations.reserve(project=self.project, holder=holder, **figures, is_running=is_running, now=NOW)

        if self.tries(act, fits=fits):
            self.plain[holder] = Plain(**figures, is_running=is_running)
        return holder

    @rule(holder=holders)
    def commit(self, holder: UUID) -> None:
        operations.commit(holder=holder, now=NOW)

    @rule(holder=holders)
    def release(self, holder: UUID) -> None:
        assert operations.release(holder=holder, now=NOW) == (holder in self.plain)
        self.plain.pop(holder, None)

    @rule(holder=holders)
    def switch_off(self, holder: UUID) -> None:
        one = self.plain.get(holder)
        assert operations.release_running(holder=holder, now=NOW) == bool(one and one.is_running)
        if one:
            one.is_running = False

    @rule(holder=holders)
    def start(self, holder: UUID) -> None:
        one = self.plain.get(holder)
        if one is None:
            with pytest.raises(operations.NothingHeldError):
                operations.hold_running(holder=holder, now=NOW)
            return
        need = 0 if one.is_running else 1
        fits = self.fits(running_vcpus=one.vcpus * need, running_memory_mib=one.memory_mib * need)
        if self.tries(lambda: operations.hold_running(holder=holder, now=NOW), fits=fits):
            one.is_running = True

    @rule(holder=holders)
    def is_seen_running(self, holder: UUID) -> None:
        one = self.plain.get(holder)
        moved = operations.hold_running(holder=holder, is_observed=True, now=NOW)
        assert moved == bool(one and not one.is_running)
        if one:
            one.is_running = True

    @rule(holder=holders, vcpus=SOME, memory_mib=SOME, disk_gib=FEW)
    def change(self, holder: UUID, vcpus: int, memory_mib: int, disk_gib: int) -> None:
        one = self.plain.get(holder)
        if one is None:
            return
        steps = {
            "vcpus": vcpus - one.vcpus,
            "memory_mib": memory_mib - one.memory_mib,
            "disk_gib": disk_gib - one.disk_gib,
        }
        if one.is_running:
            steps |= {"running_vcpus": steps["vcpus"], "running_memory_mib": steps["memory_mib"]}

        def act() -> None:
            operations.change(holder=holder, vcpus=vcpus, memory_mib=memory_mib, disk_gib=disk_gib, now=NOW)

        if self.tries(act, fits=self.fits(**steps)):
            one.vcpus, one.memory_mib, one.disk_gib = vcpus, memory_mib, disk_gib

    @rule(machines=FEW, vcpus=FEW, memory_mib=FEW, disk_gib=FEW, on=MAYBE, memory_on=MAYBE)
    def set_limits(
        self, machines: int, vcpus: int, memory_mib: int, disk_gib: int, on: int | None, memory_on: int | None
    ) -> None:
        self.limits(Figures(machines, vcpus, memory_mib, disk_gib), RunningLimit(on, memory_on))

    @rule(vcpus=SOME, memory_mib=SOME, disk_gib=FEW)
    def approve(self, vcpus: int, memory_mib: int, disk_gib: int) -> None:
        need = Figures(1, vcpus, memory_mib, disk_gib)
        operations.raise_to_fit(project=self.project, need=need, staff=self.staff, now=NOW)
        assert self.fits(
            machines=1,
            vcpus=vcpus,
            memory_mib=memory_mib,
            disk_gib=disk_gib,
            running_vcpus=vcpus,
            running_memory_mib=memory_mib,
        )

    # --- what must hold ---------------------------------------------------------------------------

    @invariant()
    def columns_are_what_is_held(self) -> None:
        quota = Quota.objects.get(project=self.project)
        for name, held in self.sums().items():
            limit = getattr(quota, f"{name}_limit")
            assert getattr(quota, f"{name}_reserved") == held, name
            over = 0 if limit is None else max(0, held - limit)
            assert getattr(quota, f"{name}_overdraft") == over, name

    @invariant()
    def the_books_agree(self) -> None:
        found = queries.drift(held_by_machines={})
        assert {drift.what for drift in found} <= {"HOLDS_WITHOUT_MACHINE"}
        assert {drift.holder for drift in found} == set(self.plain)


@pytest.fixture
def of_lab(lab, dana) -> type[Ledger]:
    class OfLab(Ledger):
        project, staff = lab, dana

        def __init__(self) -> None:
            self.undo = transaction.atomic()
            self.undo.__enter__()
            super().__init__()

        def teardown(self) -> None:
            transaction.set_rollback(True)
            self.undo.__exit__(None, None, None)

    return OfLab


def test_the_ledger_adds_up_whatever_happens(of_lab: type[Ledger]):
    run_state_machine_as_test(
        of_lab,
        settings=settings(
            max_examples=8, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


#: what may happen to a holder that is there; 6 vcpus, MiB and GiB are the limit, 4 of the vcpus may run
EVENTS: dict[str, Callable[[Ledger, UUID], object]] = {
    "commit": lambda ledger, holder: ledger.commit(holder),
    "release": lambda ledger, holder: ledger.release(holder),
    "switch off": lambda ledger, holder: ledger.switch_off(holder),
    "start": lambda ledger, holder: ledger.start(holder),
    "is seen running": lambda ledger, holder: ledger.is_seen_running(holder),
    "grow": lambda ledger, holder: ledger.change(holder, 4, 3, 3),
    "grow too much": lambda ledger, holder: ledger.change(holder, 7, 3, 3),
    "shrink": lambda ledger, holder: ledger.change(holder, 1, 1, 0),
    "lower": lambda ledger, _: ledger.set_limits(0, 1, 1, 1, 1, 1),
    "approve": lambda ledger, _: ledger.approve(4, 4, 4),
}


#: what is worth a second look where the holder is off from the beginning
WHILE_OFF = ("lower", "start", "is seen running")


@pytest.mark.parametrize(
    ("first", "is_running"), [*((first, True) for first in EVENTS), *((first, False) for first in WHILE_OFF)]
)
def test_any_two_events_and_the_end_leave_nothing(of_lab: type[Ledger], first: str, is_running: bool):
    """Chance may miss a pair; this goes through them all, and gives back what is left each time."""
    for second in EVENTS:
        ledger = of_lab()
        holder = ledger.reserve(2, 3, 1, is_running=is_running)
        for event in (first, second, "release"):
            EVENTS[event](ledger, holder)
            ledger.columns_are_what_is_held()
        ledger.the_books_agree()
        assert not any(ledger.sums().values())
        ledger.teardown()

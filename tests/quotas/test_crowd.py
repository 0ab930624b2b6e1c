"""The ledger's arithmetic while many are at it: threads that take, change, give back, lower and raise.

`test_arithmetic` does one thing after another and knows what must come out; here nobody knows the order, and
what must hold is what holds in any: never more than the quota, and books that agree when all is quiet.
"""

import random
import threading
from collections import Counter
from uuid import UUID, uuid4

import pytest
from django.db import connection

from tests.fixtures import NOW
from tests.quotas.test_race import all_at_once
from webxen.quotas import operations, queries
from webxen.quotas.models import Quota, Reservation
from webxen.quotas.operations import NothingHeldError, QuotaExceededError
from webxen.quotas.shortage import Figures, RunningLimit

THREADS, STEPS = 6, 25
LIMITS = Figures(6, 12, 12, 12)
RUNNING = RunningLimit(8, 8)
NAMES = ("machines", "vcpus", "memory_mib", "disk_gib", "running_vcpus", "running_memory_mib")


class Crowd:
    """What a thread may do to the ledger; the holders are everybody's."""

    def __init__(self, project, staff, *, may_set_limits):
        self.project, self.staff = project, staff
        self.holders: list[UUID] = [uuid4() for _ in range(4)]
        self.told: Counter[str] = Counter()
        self.acts = [
            self.reserve,
            self.reserve,
            self.commit,
            self.release,
            self.start,
            self.stop,
            self.change,
        ]
        self.acts += [self.lower, self.grant] if may_set_limits else []

    def walk(self, seed):
        dice = random.Random(seed)
        for _ in range(STEPS):
            act = dice.choice(self.acts)
            try:
                said = str(bool(act(dice)))
            except (QuotaExceededError, NothingHeldError) as refused:
                said = type(refused).__name__
            self.told[f"{act.__name__} {said}"] += 1

    def figures(self, dice):
        return {"vcpus": dice.randint(1, 4), "memory_mib": dice.randint(1, 4), "disk_gib": dice.randint(0, 4)}

    def reserve(self, dice):
        holder = uuid4()
        is_on = dice.random() < 0.5
        figures = self.figures(dice)
        operations.reserve(project=self.project, holder=holder, is_running=is_on, **figures, now=NOW)
        self.holders.append(holder)
        return True

    def commit(self, dice):
        return operations.commit(holder=dice.choice(self.holders), now=NOW)

    def release(self, dice):
        return operations.release(holder=dice.choice(self.holders), now=NOW)

    def start(self, dice):
        return operations.hold_running(holder=dice.choice(self.holders), now=NOW)

    def stop(self, dice):
        return operations.release_running(holder=dice.choice(self.holders), now=NOW)

    def change(self, dice):
        return operations.change(holder=dice.choice(self.holders), **self.figures(dice), now=NOW)

    def lower(self, dice):
        limits = Figures(*(dice.randint(0, most) for most in (6, 12, 12, 12)))
        operations.set_limits(project=self.project, limits=limits, running=RUNNING, staff=self.staff, now=NOW)

    def grant(self, dice):
        need = Figures(1, **self.figures(dice))
        operations.raise_to_fit(project=self.project, need=need, staff=self.staff, now=NOW)


class Watch(threading.Thread):
    """Reads the quota all the time, as a page does."""

    def __init__(self):
        super().__init__()
        self.is_over = threading.Event()
        self.seen: list[str] = []
        self.looks = 0

    def run(self):
        while not self.is_over.wait(0.002):
            row = Quota.objects.values().get()
            self.looks += 1
            for name in NAMES:
                reserved, limit = row[f"{name}_reserved"], row[f"{name}_limit"]
                if not 0 <= reserved <= limit + row[f"{name}_overdraft"]:
                    self.seen.append(f"{name}: {reserved} of {limit}")
        connection.close()


def sums_of_what_is_held():
    held = list(Reservation.objects.exclude(status="RELEASED").values())
    on = [row for row in held if row["is_running"]]
    sums = {name: sum(row[name] for row in held) for name in ("vcpus", "memory_mib", "disk_gib")}
    running = {f"running_{name}": sum(row[name] for row in on) for name in ("vcpus", "memory_mib")}
    return {"machines": len(held), **sums, **running}


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("may_set_limits", [False, True], ids=["fixed", "moving"])
@pytest.mark.parametrize("seed", [1])
def test_adds_up_whoever_comes_first(lab, dana, may_set_limits, seed):
    operations.set_limits(project=lab, limits=LIMITS, running=RUNNING, staff=dana, now=NOW)
    crowd, watch = Crowd(lab, dana, may_set_limits=may_set_limits), Watch()
    seeds = iter(range(seed * 1000, seed * 1000 + THREADS))
    watch.start()
    try:
        outcomes = all_at_once(lambda: crowd.walk(next(seeds)), count=THREADS)
    finally:
        watch.is_over.set()
        watch.join()
    assert outcomes == [None] * THREADS
    assert watch.looks
    assert watch.seen == []
    quota = Quota.objects.get()
    assert {name: getattr(quota, f"{name}_reserved") for name in NAMES} == sums_of_what_is_held()
    if not may_set_limits:
        assert not any(getattr(quota, f"{name}_overdraft") for name in NAMES)
    # columns, reservations and lines; that these holders are no machines is no news
    assert {drift.what for drift in queries.drift(held_by_machines={})} <= {"HOLDS_WITHOUT_MACHINE"}
    # both came about, or nothing was tried
    assert crowd.told["reserve True"]
    assert crowd.told["reserve QuotaExceededError"]

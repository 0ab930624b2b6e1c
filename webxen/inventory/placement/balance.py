"""Plan the moves that even out a cluster, with the gain of each. Nothing is moved.

Greedy: the best single move each time, as in Ganeti's hbal. Then each move of the plan is replaced by the
best alternative, which can only improve the plan with the same number of moves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import nsmallest
from itertools import islice

from webxen.inventory.placement import score
from webxen.inventory.placement.cluster import Cluster
from webxen.inventory.placement.figures import HostFigures, MachineFigures

#: as in hbal: an even cluster (score below LIMIT) is changed only for a gain of at least GAIN
GAIN = 0.01
LIMIT = 0.1
#: minimum improvement; floating-point error of a deviation near zero is of this size
LEAST = 1e-7
#: candidate hosts at each end of a move, chosen by estimate
WIDTH = 24
#: candidate moves evaluated exactly, chosen by estimate
LIKELY = 300
ROUNDS = 2

Shape = tuple[int, int, int, float, str, str, str]


@dataclass(frozen=True)
class Move:
    """Move one machine from one host to another."""

    machine: MachineFigures
    source: str
    target: str
    #: decrease of the score
    gain: float
    score: float


@dataclass(frozen=True)
class _Shift:
    machine: MachineFigures
    source: int
    target: int


def plan_balance(
    hosts: Sequence[HostFigures],
    *,
    most: int = 50,
    with_disks: bool = False,
    gain: float = GAIN,
    limit: float = LIMIT,
) -> list[Move]:
    """Plan at most `most` moves; `with_disks`: also of machines whose disks must be copied.

    No move breaks N+1, and each machine is moved at most once.
    """
    cluster = Cluster(sorted(hosts, key=lambda host: host.name))
    plan: list[_Shift] = []
    while len(plan) < most:
        before = cluster.score
        shift = _best(cluster, {one.machine.id for one in plan}, with_disks=with_disks)
        if shift is None:
            break
        cluster.move(shift.machine, shift.source, shift.target)
        won = before - cluster.score
        if won < LEAST or (before < limit and won < gain):
            cluster.move(shift.machine, shift.target, shift.source)
            break
        plan.append(shift)
    for _ in range(ROUNDS):
        if not _improve(cluster, plan, with_disks=with_disks):
            break
    return _in_order(Cluster(cluster.hosts), plan)


def _improve(cluster: Cluster, plan: list[_Shift], *, with_disks: bool) -> bool:
    """Try to replace each move by a better one; return whether any was replaced."""
    is_better = False
    for number, old in enumerate(plan):
        before, failing = cluster.score, set(cluster.survival.failing) if cluster.shared else set()
        cluster.move(old.machine, old.target, old.source)
        others = {one.machine.id for place, one in enumerate(plan) if place != number}
        new = _best(cluster, others, with_disks=with_disks) or old
        cluster.move(new.machine, new.source, new.target)
        # the removed move may be one that repaired N+1
        is_kept = not cluster.shared or cluster.survival.failing <= failing
        if is_kept and cluster.score < before - LEAST:
            plan[number] = new
            is_better = True
        elif new != old:
            cluster.move(new.machine, new.target, new.source)
            cluster.move(old.machine, old.source, old.target)
        if cluster.shared:
            cluster.survival.back_to(failing)
    return is_better


def _in_order(cluster: Cluster, plan: Sequence[_Shift]) -> list[Move]:
    """Order the moves so that each fits when it is made, the one with the largest gain first."""
    moves, left = [], list(plan)
    while left:
        before, gains = cluster.score, []
        for shift in left:
            if cluster.refuse(shift.target, shift.machine, is_move=True) is None:
                cluster.move(shift.machine, shift.source, shift.target)
                gains.append((before - cluster.score, shift))
                cluster.move(shift.machine, shift.target, shift.source)
        if not gains:
            break
        won, shift = max(gains, key=lambda one: one[0])
        cluster.move(shift.machine, shift.source, shift.target)
        left.remove(shift)
        source, target = cluster.hosts[shift.source].name, cluster.hosts[shift.target].name
        moves.append(Move(shift.machine, source, target, won, cluster.score))
    return moves


# --- the best single move ------------------------------------------------------------------------


def _best(cluster: Cluster, moved: set[str], *, with_disks: bool) -> _Shift | None:
    """Find the move that leads to the lowest score, among those that keep N+1."""
    glance = _Glance(cluster)
    likely: list[tuple[float, str, _Shift]] = []
    for sources in _shapes(cluster, moved, with_disks=with_disks).values():
        machine = next(iter(sources.values()))
        leaving = nsmallest(WIDTH, ((glance.leaving(place, machine), place) for place in sources))
        coming = glance.coming(machine)
        for left, source in leaving:
            shifts = ((left + came, _Shift(sources[source], source, target)) for came, target in coming)
            likely.extend((gain, one.machine.id, one) for gain, one in shifts if one.target != source)
    before = cluster.score
    found = [(_after(cluster, one), name, one) for _, name, one in nsmallest(LIKELY, likely, key=_by_score)]
    for after, _, shift in sorted(found, key=_by_score):
        if after > before - LEAST:
            break
        if _keeps_n1(cluster, shift):
            return shift
    return None


def _by_score(one: tuple[float, str, _Shift]) -> tuple[float, str, int]:
    return one[0], one[1], one[2].target


def _after(cluster: Cluster, shift: _Shift) -> float:
    """Return the exact score after the move."""
    cluster.count(shift.source, shift.machine, -1)
    cluster.count(shift.target, shift.machine, 1)
    after = cluster.score
    cluster.count(shift.target, shift.machine, -1)
    cluster.count(shift.source, shift.machine, 1)
    return after


def _keeps_n1(cluster: Cluster, shift: _Shift) -> bool:
    return not cluster.shared or cluster.survival.allows(shift.machine, shift.source, shift.target)


def _shapes(cluster: Cluster, moved: set[str], *, with_disks: bool) -> dict[Shape, dict[int, MachineFigures]]:
    """Group machines by shape: equal machines gain equally, so one of each shape and host is evaluated."""
    shapes: dict[Shape, dict[int, MachineFigures]] = {}
    for place, machines in enumerate(cluster.machines):
        if cluster.hosts[place].is_silent:
            continue
        for one in machines.values():
            if one.id not in moved and (with_disks or cluster.is_shared(place, one)):
                shape = (one.memory_mib, one.vcpus, one.disk_mib, one.load, one.pool, one.bridge, one.group)
                shapes.setdefault(shape, {}).setdefault(place, one)
    return shapes


class _Glance:
    """Estimate the gain of moves: each end separately, by the derivative of the score."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._slopes = [
            (metric, spread.mean, 1 / (2 * max(spread.count, 1) * max(spread.deviation, LEAST)))
            for metric, spread in enumerate(cluster.spreads)
        ]
        self._orders: dict[tuple[int, int, int, float], list[tuple[float, int]]] = {}

    def leaving(self, place: int, machine: MachineFigures) -> float:
        cluster = self._cluster
        if not cluster.is_open[place]:
            return -score.STRANDED_WEIGHT if cluster.hosts[place].is_draining else 0.0
        is_clash = machine.group and cluster.groups[place].get(machine.group, 0) > 1
        return (-score.GROUP_WEIGHT if is_clash else 0.0) + self._change(place, machine, -1)

    def coming(self, machine: MachineFigures) -> list[tuple[float, int]]:
        """Return up to WIDTH hosts that fit, with the estimated change of the score, best first."""
        shape = (machine.memory_mib, machine.vcpus, machine.disk_mib, machine.load)
        order = self._orders.get(shape)
        if order is None:
            places = [place for place, is_open in enumerate(self._cluster.is_open) if is_open]
            order = sorted((self._change(place, machine, 1), place) for place in places)
            self._orders[shape] = order
        fits = (one for one in order if self._cluster.refuse(one[1], machine, is_move=True) is None)
        return list(islice(fits, WIDTH))

    def _change(self, place: int, machine: MachineFigures, sign: int) -> float:
        change = 0.0
        steps = self._cluster.steps(machine, place)
        for metric, mean, slope in self._slopes:
            step = sign * steps[metric]
            if step:
                change += slope * step * (2 * (self._cluster.ratio(metric, place) - mean) + step)
        return change

"""N+1: whether any one host may fail. For each host a plan is kept where its machines would restart.

An existing plan proves survival; a plan that was not found counts as none, so the answer may be too cautious
but never too optimistic. Only machines on shared storage count: local disks fail with their host. vCPU ratios
and groups are ignored in such an emergency, as in Ganeti.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable
from operator import attrgetter
from typing import TYPE_CHECKING

from webxen.inventory.placement.figures import Need

if TYPE_CHECKING:
    from webxen.inventory.placement.cluster import Cluster
    from webxen.inventory.placement.figures import MachineFigures

_id, _pool, _bridge, _memory = map(attrgetter, ("id", "pool", "bridge", "memory_mib"))
#: what machines need of a host to restart on it: their pools and bridges
Kinds = tuple[frozenset[str], frozenset[str]]
#: open hosts where machines of some kinds can start, by free memory: MiB, and host
Reach = tuple[list[int], list[int]]
#: a prime that rarely divides the number of hosts, so that plans start at different hosts
STRIDE = 7919


def _largest_first(machines: list[MachineFigures]) -> list[MachineFigures]:
    return sorted(machines, key=_memory, reverse=True)


class Survival:
    """Plans for each host's failure, updated while machines are added and removed."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        count = len(cluster.hosts)
        #: host → machine id → host where it would restart
        self.plans: list[dict[str, int]] = [{} for _ in range(count)]
        #: host → other host → MiB its plan needs there
        self._wants: list[dict[int, int]] = [{} for _ in range(count)]
        #: host → the most MiB that any one plan needs there
        self._most_wanted = [0] * count
        #: hosts where that may be less by now, because a plan shrank
        self._loose: set[int] = set()
        #: hosts whose failure would leave machines without a host
        self.failing: set[int] = set()
        self._turn = 0
        #: open hosts by free memory
        self._order = sorted(
            (cluster.memory_free[place], place) for place in range(count) if cluster.is_open[place]
        )
        self._listed = {place: free for free, place in self._order}
        reached: dict[Kinds, Reach] = {}
        for place in range(count):
            if not self._spread(place, reached):
                self._plan(place)

    @property
    def is_safe(self) -> bool:
        return not self.failing

    def at_stake(self, place: int) -> list[MachineFigures]:
        """The machines that could restart elsewhere if the host failed."""
        shared = self._cluster.hosts[place].shared_pools
        return [machine for machine in self._cluster.machines[place].values() if machine.pool in shared]

    def keeps(self, place: int, machine: MachineFigures) -> bool:
        """Quickly check that the machine can be added with all plans still valid; False: not known."""
        left = self._cluster.memory_free[place] - machine.memory_mib
        if self._wanted(place, left) > left:
            return False
        return not self._cluster.is_shared(place, machine) or self._has_room(place, machine)

    def keeps_closely(self, place: int, machine: MachineFigures) -> bool:
        """Check the same by recomputing plans where needed."""
        before = set(self.failing)
        self._cluster.put(place, machine)
        is_kept = self.failing <= before
        self._cluster.take(place, machine)
        self.back_to(before)
        return is_kept

    def allows(self, machine: MachineFigures, source: int, target: int) -> bool:
        """Return whether the move leaves every host its plan."""
        before = set(self.failing)
        self._cluster.move(machine, source, target)
        is_kept = self.failing <= before
        self._cluster.move(machine, target, source)
        self.back_to(before)
        return is_kept

    def back_to(self, before: set[int]) -> None:
        """After a trial was undone, recompute the plans that failed only during the trial."""
        for other in self.failing - before:
            self._plan(other)

    def recheck(self) -> None:
        """Recompute the plan of each failing host, after machines were removed."""
        for other in list(self.failing):
            self._plan(other)

    # --- hearing of changes ----------------------------------------------------------------------

    def heard_put(self, place: int, machine: MachineFigures) -> None:
        self._list_again(place)
        left = self._cluster.memory_free[place]
        if self._wanted(place, left) > left:
            lacking = [one for one, wants in enumerate(self._wants) if place in wants and wants[place] > left]
            for other in lacking:
                self._leave(other, place)
        if self._cluster.is_shared(place, machine) and place not in self.failing:
            self._extend(place, [machine])

    def heard_take(self, place: int, machine: MachineFigures) -> None:
        self._list_again(place)
        target = self.plans[place].pop(machine.id, None)
        if target is not None:
            self._want(place, target, -machine.memory_mib)
        if place in self.failing:
            self._plan(place)

    def _list_again(self, place: int) -> None:
        if place in self._listed:
            del self._order[bisect_left(self._order, (self._listed[place], place))]
            self._listed[place] = self._cluster.memory_free[place]
            insort(self._order, (self._listed[place], place))

    # --- plans -----------------------------------------------------------------------------------

    def _leave(self, dying: int, target: int) -> None:
        """Find other hosts for the part of a plan that is on a host without enough memory now."""
        stays = self._cluster.machines[dying]
        leaving = [stays[name] for name, place in self.plans[dying].items() if place == target]
        for machine in leaving:
            del self.plans[dying][machine.id]
        self._want(dying, target, -self._wants[dying][target])
        self._extend(dying, leaving)

    def _extend(self, dying: int, machines: list[MachineFigures]) -> None:
        if not self._settle(dying, _largest_first(machines), -1):
            self._plan(dying)

    def _plan(self, dying: int) -> None:
        """Recompute a host's plan: first spread over the hosts, then, if that fails, as tight as possible."""
        machines = _largest_first(self.at_stake(dying))
        for start in (-1, 0):
            self._forget(dying)
            if self._settle(dying, machines, start):
                self.failing.discard(dying)
                return
        self._forget(dying)
        self.failing.add(dying)

    def _spread(self, dying: int, reached: dict[Kinds, Reach]) -> bool:
        """Make a host's first plan in one step: each machine on a different host with room for any of them.

        Return False if there are too few such hosts.
        """
        machines = self.at_stake(dying)
        if not machines:
            return True
        kinds = frozenset(map(_pool, machines)), frozenset(map(_bridge, machines))
        if kinds not in reached:
            reached[kinds] = self._reach(*kinds)
        frees, places = reached[kinds]
        sizes = list(map(_memory, machines))
        low = bisect_left(frees, max(sizes))
        # one more than there are machines, as the failing host itself may be among them
        needed = len(sizes) + 1
        if (count := len(places) - low - needed + 1) < 1:
            return False
        self._turn += needed
        start = low + self._turn % count
        targets = places[start : start + needed]
        if dying in targets:
            targets.remove(dying)
        most, wants = self._most_wanted, dict(zip(targets, sizes, strict=False))
        self.plans[dying] = dict(zip(map(_id, machines), targets, strict=False))
        self._wants[dying] = wants
        for target, size in wants.items():
            if size > most[target]:  # noqa: PLR1730 - a call for each machine there is would be felt
                most[target] = size
        return True

    def _reach(self, pools: Iterable[str], bridges: Iterable[str]) -> Reach:
        """Find the open hosts where a machine could start, whichever of these pools and bridges it needs."""
        needs = [Need(memory_mib=0, pool=pool, bridge=bridge) for pool in pools for bridge in bridges]
        each = [self._cluster.allowed_elsewhere(need) for need in needs]
        pairs = [(free, place) for free, place in self._order if all(kind[place] for kind in each)]
        return [free for free, _ in pairs], [place for _, place in pairs]

    def _settle(self, dying: int, machines: list[MachineFigures], start: int) -> bool:
        """Add a host for each of these machines to the plan; return False if one has none."""
        plan, wants, most, order = self.plans[dying], self._wants[dying], self._most_wanted, self._order
        size, kind, low, count = -1, ("", ""), 0, 0
        allowed: list[bool] = []
        for machine in machines:
            # sorted by size, and most are of one kind, so results are reused for the next machine
            if machine.memory_mib != size:
                size = machine.memory_mib
                low = bisect_left(order, (size, -1))
                count = len(order) - low
            if not allowed or (machine.pool, machine.bridge) != kind:
                kind = (machine.pool, machine.bridge)
                allowed = self._cluster.allowed_elsewhere(machine)
            if not count:
                return False
            step = start
            if start < 0:
                step = self._turn = (self._turn + STRIDE) % count
            free, place = order[low + step]
            if place == dying or not allowed[place] or free - wants.get(place, 0) < size:
                found = self._first(dying, size, low, allowed, step + 1)
                if found is None:
                    return False
                place = found
            plan[machine.id] = place
            wants[place] = wants.get(place, 0) + size
            most[place] = max(most[place], wants[place])
        return True

    def _has_room(self, dying: int, machine: MachineFigures) -> bool:
        """Whether there is room for one more machine of a failing host; tries the host with most memory
        first.
        """
        if not self._order:
            return False
        allowed, (free, place) = self._cluster.allowed_elsewhere(machine), self._order[-1]
        free -= self._wants[dying].get(place, 0)
        if place != dying and allowed[place] and free >= machine.memory_mib:
            return True
        low = bisect_left(self._order, (machine.memory_mib, -1))
        return self._first(dying, machine.memory_mib, low, allowed, 0) is not None

    def _first(self, dying: int, needed: int, low: int, allowed: list[bool], start: int) -> int | None:
        """Return the first host with room, from `low` on in the order of free memory; None if there is
        none.
        """
        order, wants = self._order, self._wants[dying]
        count = len(order) - low
        for step in range(start, start + count):
            free, place = order[low + step % count]
            if place != dying and allowed[place] and free - wants.get(place, 0) >= needed:
                return place
        return None

    def _wanted(self, target: int, enough: int) -> int:
        """Return the most that any one plan needs there; recomputed only if it exceeds `enough`."""
        if self._most_wanted[target] > enough and target in self._loose:
            self._most_wanted[target] = max([wants.get(target, 0) for wants in self._wants])
            self._loose.discard(target)
        return self._most_wanted[target]

    def _want(self, dying: int, target: int, more: int) -> None:
        wants = self._wants[dying]
        wanted = wants.get(target, 0) + more
        if wanted > 0:
            wants[target] = wanted
            self._most_wanted[target] = max(self._most_wanted[target], wanted)
        else:
            wants.pop(target, None)
        if more < 0:
            self._loose.add(target)

    def _forget(self, dying: int) -> None:
        self.plans[dying] = {}
        self._loose.update(self._wants[dying])
        self._wants[dying] = {}

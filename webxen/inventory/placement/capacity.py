"""Count how many more machines of a size fit, with and without N+1, and how many hosts may fail."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from heapq import heapify, heapreplace
from itertools import combinations

from webxen.inventory.placement.choose import as_machine, counts_n1
from webxen.inventory.placement.cluster import Cluster
from webxen.inventory.placement.figures import HostFigures, MachineFigures, Need

#: up to this many combinations of hosts are tried individually; beyond it a bound is used
MOST_SETS = 400


@dataclass(frozen=True)
class Capacity:
    """How many machines fit, and how many hosts may fail."""

    #: until the hosts are full
    machines: int
    #: while any one host may fail; equal to `machines` if no machine could restart elsewhere
    machines_n1: int
    #: lower bound of the number of hosts that may fail at the same time
    hosts_may_fail: int


def capacity(hosts: Sequence[HostFigures], size: Need) -> Capacity:
    """Count how many more machines of one size fit."""
    cluster = Cluster(hosts)
    machine = as_machine(size)
    rooms = [room_on(cluster, place, machine) for place in range(len(hosts))]
    most = sum(rooms)
    if machine.pool in cluster.shared and machine.disk_mib:
        most = min(most, max(cluster.shared[machine.pool], 0) // machine.disk_mib)
    if not counts_n1(cluster):
        return Capacity(most, most, 0)
    return Capacity(most, _count_n1(hosts, machine, rooms, most), hosts_may_fail(hosts))


def room_on(cluster: Cluster, place: int, need: Need) -> int:
    """Return how many such machines the host can take by itself."""
    if not cluster.allowed(need)[place]:
        return 0
    rooms = [cluster.memory_free[place] // need.memory_mib] if need.memory_mib else []
    if need.disk_mib and not cluster.is_shared(place, need):
        rooms.append(cluster.pools[place][need.pool] // need.disk_mib)
    if need.vcpus and cluster.vcpus_most[place] != float("inf"):
        rooms.append(int((cluster.vcpus_most[place] - cluster.vcpus[place]) // need.vcpus))
    if need.group:
        rooms.append(0 if cluster.groups[place].get(need.group) else 1)
    return max(min(rooms, default=0), 0)


# --- with N+1 ------------------------------------------------------------------------------------


def _count_n1(hosts: Sequence[HostFigures], machine: MachineFigures, rooms: list[int], most: int) -> int:
    """Fill evenly to the last count with N+1, then add machines while any host keeps it."""
    fill = _level(Cluster(hosts), machine, rooms)[:most]
    low, high = 0, len(fill) + 1
    if not _filled(hosts, machine, []).survival.is_safe:
        return 0
    while high - low > 1:
        middle = (low + high) // 2
        if _filled(hosts, machine, fill[:middle]).survival.is_safe:
            low = middle
        else:
            high = middle
    cluster = _filled(hosts, machine, fill[:low])
    return low + _squeeze(cluster, machine, rooms, fill[:low], most - low)


def _level(cluster: Cluster, machine: MachineFigures, rooms: list[int]) -> list[int]:
    """Return the order of hosts that keeps free memory even: each machine goes where most is free."""
    left, total = list(rooms), sum(rooms)
    heap = [(-cluster.memory_free[place], place) for place, room in enumerate(rooms) if room]
    heapify(heap)
    order: list[int] = []
    while len(order) < total:
        free, place = heap[0]
        order.append(place)
        left[place] -= 1
        # a full host moves to the end of the heap and is not reached again
        heapreplace(heap, (free + machine.memory_mib if left[place] else 1, place))
    return order


def _filled(hosts: Sequence[HostFigures], machine: MachineFigures, fill: Sequence[int]) -> Cluster:
    cluster = Cluster(hosts)
    for number, place in enumerate(fill):
        cluster.put(place, replace(machine, id=f"new {number}"))
    return cluster


def _squeeze(
    cluster: Cluster, machine: MachineFigures, rooms: list[int], fill: Sequence[int], most: int
) -> int:
    """Add machines wherever N+1 still holds; a host that refused once is not tried again."""
    left = list(rooms)
    for place in fill:
        left[place] -= 1
    more = 0
    for place in sorted(range(len(left)), key=lambda one: -cluster.memory_free[one]):
        while left[place] and more < most:
            candidate = replace(machine, id=f"more {more}")
            survival = cluster.survival
            if not (survival.keeps(place, candidate) or survival.keeps_closely(place, candidate)):
                break
            cluster.put(place, candidate)
            left[place] -= 1
            more += 1
    return more


# --- hosts that may fail -------------------------------------------------------------------------


def hosts_may_fail(hosts: Sequence[HostFigures]) -> int:
    """Return a lower bound of how many hosts, whichever they are, may fail at the same time."""
    cluster = Cluster(hosts)
    if not counts_n1(cluster) or not cluster.survival.is_safe:
        return 0
    failing = 1
    while failing + 1 < len(hosts) and _may_all_fail(hosts, cluster, failing + 1):
        failing += 1
    return failing


def _may_all_fail(hosts: Sequence[HostFigures], cluster: Cluster, count: int) -> bool:
    sets = 1
    for step in range(count):
        sets = sets * (len(hosts) - step) // (step + 1)
    if sets <= MOST_SETS:
        return all(_may_fail(hosts, dead) for dead in combinations(range(len(hosts)), count))
    return _is_enough(cluster, count)


def _may_fail(hosts: Sequence[HostFigures], dead: Sequence[int]) -> bool:
    """Whether the machines of all these hosts could restart on the others."""
    cluster = Cluster(hosts)
    lost = [machine for place in dead for machine in cluster.survival.at_stake(place)]
    seen = frozenset().union(*(hosts[place].shared_pools for place in dead))
    together = replace(hosts[dead[0]], machines=tuple(lost), shared_pools=seen)
    left = [host for place, host in enumerate(hosts) if place not in dead]
    survival = Cluster([together, *left]).survival
    return 0 not in survival.failing


def _is_enough(cluster: Cluster, count: int) -> bool:
    """Whether the machines of any `count` hosts fit on the others, each counted as large as the largest.

    A failed host also loses its own slots, so the worst hosts are those with most machines and slots
    together.
    """
    at_stake = [cluster.survival.at_stake(place) for place in range(len(cluster.hosts))]
    biggest = max((machine.memory_mib for machines in at_stake for machine in machines), default=0)
    if not biggest:
        return True
    reached = [
        cluster.allowed_elsewhere(machine)
        for machine in {(one.pool, one.bridge): one for machines in at_stake for one in machines}.values()
    ]
    slots = [
        max(cluster.memory_free[place], 0) // biggest if all(kind[place] for kind in reached) else 0
        for place in range(len(cluster.hosts))
    ]
    worst = sorted((len(machines) + slots[place] for place, machines in enumerate(at_stake)), reverse=True)
    return sum(worst[:count]) <= sum(slots)

"""Plan the evacuation of a host: a target for each machine, or why there is none. Nothing is moved."""

from collections.abc import Sequence
from dataclasses import dataclass

from webxen.core.messages import Message, tell_all, tell_of
from webxen.inventory.placement.choose import pick, rank
from webxen.inventory.placement.cluster import Cluster
from webxen.inventory.placement.figures import HostFigures, MachineFigures
from webxen.inventory.placement.fits import Verdict


@dataclass(frozen=True)
class Step:
    """One machine of the host: its `target`, or None with the reason of each other host."""

    machine: MachineFigures
    target: str | None
    why_not: tuple[Verdict, ...] = ()
    #: its disks must be copied too
    with_disks: bool = False
    #: None if no machine could restart elsewhere
    leaves_n1: bool | None = None

    def explain(self) -> str:
        return tell_all(tell_of(one.host, one.message) for one in self.why_not) or Message("NO_OTHER_HOST")


def plan_evacuation(hosts: Sequence[HostFigures], name: str, *, knows_machines: bool = True) -> list[Step]:
    """Plan targets for the machines of the host, largest first.

    The evenly spread plan is tried first; if it leaves machines without a target, the plan that fills hosts
    tightly is computed too, and the one that moves more machines is returned. Without `knows_machines`, the
    machines of other hosts are given as totals and N+1 is not computed.
    """
    hosts = sorted(hosts, key=lambda host: host.name)
    even = _plan(Cluster(hosts, knows_machines=knows_machines), name, is_tight=False)
    if all(step.target for step in even):
        return even
    tight = _plan(Cluster(hosts, knows_machines=knows_machines), name, is_tight=True)
    return max(even, tight, key=lambda plan: sum(step.target is not None for step in plan))


def _plan(cluster: Cluster, name: str, *, is_tight: bool) -> list[Step]:
    source = cluster.index[name]
    leaving = sorted(cluster.machines[source].values(), key=lambda one: (-one.memory_mib, one.name, one.id))
    return [_step(cluster, machine, source, is_tight=is_tight) for machine in leaving]


def _step(cluster: Cluster, machine: MachineFigures, source: int, *, is_tight: bool) -> Step:
    is_shared = cluster.is_shared(source, machine)
    cluster.take(source, machine)
    order = [place for _, place in rank(cluster, machine, is_move=True) if place != source]
    if is_tight:
        order.sort(key=lambda place: cluster.memory_free[place])
    placed = pick(cluster, machine, order)
    if placed is None:
        others = (place for place in range(len(cluster.hosts)) if place != source)
        refused = [cluster.refuse(place, machine, is_move=True) for place in others]
        cluster.put(source, machine)
        return Step(machine, None, tuple(one for one in refused if one), with_disks=not is_shared)
    cluster.put(placed.place, machine)
    host = cluster.hosts[placed.place]
    return Step(machine, host.name, (), with_disks=not is_shared, leaves_n1=placed.leaves_n1)

"""Choose a host for one machine: the most even cluster that still tolerates the failure of any one host."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from itertools import islice
from math import sqrt

from webxen.core.messages import Message, tell_of
from webxen.inventory.placement.cluster import Cluster
from webxen.inventory.placement.figures import HostFigures, MachineFigures, Need
from webxen.inventory.placement.fits import Verdict
from webxen.inventory.placement.score import DISK, LOAD, MEMORY, VCPUS

#: hosts for which survival plans are recomputed to keep N+1; the others get the quick check
CLOSE_LOOKS = 8
#: far below the effect of one machine, far above the rounding error of summation order
DIGITS = 12
#: hosts named in the message with their reasons
NAMED_HOSTS = 10


@dataclass(frozen=True)
class Choice:
    """`host` is None if none fits; `reasons` has the reason of each host that refuses."""

    host: str | None
    reasons: dict[str, Message]
    #: of every host examined: the chosen one, those that fit, best first, then those that do not
    verdicts: tuple[Verdict, ...] = field(default=())

    def explain(self) -> Message:
        if not self.reasons:
            return Message("NO_HOSTS")
        named = [tell_of(name, why) for name, why in islice(self.reasons.items(), NAMED_HOSTS)]
        if (left := len(self.reasons) - len(named)) > 1:
            named.append(Message("MORE_HOSTS_FULL", n=left))
        return Message("NO_HOST_HAS_ROOM", whys=named)


@dataclass(frozen=True)
class Placed:
    """The host chosen in the planning copy."""

    place: int
    #: None: no machine there could restart elsewhere, so N+1 does not apply
    leaves_n1: bool | None


def choose_host(
    hosts: Sequence[HostFigures],
    need: Need,
    *,
    wanted: str | None = None,
    prefers_n1: bool = True,
    knows_machines: bool = True,
) -> Choice:
    """Choose the host that leaves the cluster most even and, if possible, keeps N+1; ties go by name.

    `wanted`: only this host is considered. Without `prefers_n1`, N+1 is ignored. Without `knows_machines`,
    machines are given as totals and N+1 is not computed.
    """
    cluster = Cluster(sorted(hosts, key=lambda host: host.name), knows_machines=knows_machines)
    machine = as_machine(need)
    looked_at = [place for place, host in enumerate(cluster.hosts) if wanted in (None, host.name)]
    order = [place for _, place in rank(cluster, machine) if wanted in (None, cluster.hosts[place].name)]
    placed = pick(cluster, machine, order, prefers_n1=prefers_n1)
    verdicts = _judge(cluster, machine, order, placed)
    for place in set(looked_at) - set(order):
        verdict = cluster.refuse(place, machine)
        if verdict:
            verdicts.append(verdict)
    refused = sorted((one for one in verdicts if not one.is_fit), key=lambda one: one.host)
    fitting = [one for one in verdicts if one.is_fit]
    return Choice(
        cluster.hosts[placed.place].name if placed else None,
        {one.host: one.message for one in refused},
        (*fitting, *refused),
    )


def why_not(host: HostFigures, need: Need) -> str:
    """Return why the machine cannot go to the host, or ""."""
    verdict = Cluster([host]).refuse(0, need)
    return verdict.message if verdict else ""


def as_machine(need: Need) -> MachineFigures:
    """The need as a machine with an empty id, which no real machine has."""
    if isinstance(need, MachineFigures):
        return need
    return MachineFigures(**{one.name: getattr(need, one.name) for one in fields(need)})


def counts_n1(cluster: Cluster) -> bool:
    """Whether any machine could restart on another host."""
    return cluster.knows_machines and bool(cluster.shared)


def pick(
    cluster: Cluster,
    machine: MachineFigures,
    order: Sequence[int],
    *,
    prefers_n1: bool = True,
    must_keep_n1: bool = False,
) -> Placed | None:
    """Return the first host that keeps N+1; if none does, the first host, or None with `must_keep_n1`."""
    if not order:
        return None
    if not counts_n1(cluster):
        return Placed(order[0], None)
    survival = cluster.survival
    if not prefers_n1:
        return Placed(order[0], survival.keeps(order[0], machine) and survival.is_safe)
    for turn, place in enumerate(order):
        if survival.keeps(place, machine):
            return Placed(place, survival.is_safe)
        if turn < CLOSE_LOOKS and survival.keeps_closely(place, machine):
            return Placed(place, survival.is_safe)
    return None if must_keep_n1 else Placed(order[0], leaves_n1=False)


def rank(cluster: Cluster, need: Need, *, is_move: bool = False) -> list[tuple[float, int]]:
    """Return every host that fits, with the cluster's score after placement, best first."""
    memory, disk, vcpus, load = (cluster.spreads[metric] for metric in (MEMORY, DISK, VCPUS, LOAD))
    count, found = memory.count, []
    memory_free, memory_all, processors = cluster.memory_free, cluster.memory, cluster.processors
    held, most, group = cluster.vcpus, cluster.vcpus_most, need.group
    pools, shared_free = cluster.pools, cluster.shared.get(need.pool, 0)
    steady = load.deviation
    for place, is_allowed in enumerate(cluster.allowed(need)):
        free = memory_free[place]
        if not is_allowed or free < need.memory_mib or held[place] + need.vcpus > most[place]:
            continue
        if group and cluster.groups[place].get(group):
            continue
        own = pools[place].get(need.pool)
        if need.disk_mib > (shared_free if own is None else own) and not (own is None and is_move):
            continue
        # the change of each sum, of ratios and of their squares: (x + d)² − x² = d (2x + d)
        size = memory_all[place]
        d = -need.memory_mib / size
        mean = (memory.total + d) / count
        variance = (memory.squares + d * (2 * free / size + d)) / count - mean * mean
        total = steady + (sqrt(variance) if variance > 0 else 0.0)
        size = cluster.disk[place]
        d = -need.disk_mib / size if own is not None and size else 0.0
        total += disk.after(d, d * (2 * cluster.disk_free[place] / size + d) if d else 0.0)
        size = processors[place]
        d = need.vcpus / size
        mean = (vcpus.total + d) / count
        variance = (vcpus.squares + d * (2 * held[place] / size + d)) / count - mean * mean
        total += sqrt(variance) if variance > 0 else 0.0
        if need.load:
            d = need.load / size
            total += load.after(d, d * (2 * cluster.loads[place] / size + d)) - steady
        found.append((round(total, DIGITS), place))
    found.sort()
    return found


def _judge(
    cluster: Cluster, machine: MachineFigures, order: Sequence[int], placed: Placed | None
) -> list[Verdict]:
    """For each host that fits, tell whether N+1 is kept there, as far as that was computed."""
    if placed is None:
        return []
    verdicts = []
    for turn, place in enumerate([placed.place, *(one for one in order if one != placed.place)]):
        code = "FITS"
        if counts_n1(cluster) and cluster.survival.is_safe:
            if cluster.survival.keeps(place, machine):
                code = "FITS_N1"
            elif turn < CLOSE_LOOKS:
                kept = cluster.survival.keeps_closely(place, machine)
                code = "FITS_N1" if kept else "FITS_BREAKS_N1"
        elif counts_n1(cluster):
            code = "FITS_BREAKS_N1"
        verdicts.append(Verdict(cluster.hosts[place].name, code))
    return verdicts

"""Choosing a host for one machine: the most even cluster that still survives any one host's death."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from itertools import islice
from math import sqrt

from webxen.inventory.placement.cluster import Cluster
from webxen.inventory.placement.figures import HostFigures, MachineFigures, Need
from webxen.inventory.placement.fits import Verdict
from webxen.inventory.placement.score import DISK, LOAD, MEMORY, VCPUS

#: hosts whose plans are made anew to see if N+1 can be kept there; the others are asked the quick way
CLOSE_LOOKS = 8
#: far below what one machine changes, far above what adding floats in another order does
DIGITS = 12
#: hosts that a sentence names with their reasons; of a thousand nobody reads each
NAMED_HOSTS = 10


@dataclass(frozen=True)
class Choice:
    """`host` is None when none fits; `reasons` says for each host that refuses why."""

    host: str | None
    reasons: dict[str, str]
    #: of every host that was looked at: the chosen one, those that fit, best first, those that do not
    verdicts: tuple[Verdict, ...] = field(default=())

    def explain(self) -> str:
        if not self.reasons:
            return "No host is known yet."
        named = [f"{name}: {why}" for name, why in islice(self.reasons.items(), NAMED_HOSTS)]
        if (left := len(self.reasons) - len(named)) > 1:
            named.append(f"{left} more hosts have no room either")
        return "No host has room: " + "; ".join(named) + "."


@dataclass(frozen=True)
class Placed:
    """Where one machine goes in the planning copy."""

    place: int
    #: None: nothing there could start elsewhere, so nothing is said
    leaves_n1: bool | None


def choose_host(
    hosts: Sequence[HostFigures], need: Need, *, wanted: str | None = None, prefers_n1: bool = True
) -> Choice:
    """Take the fitting host that leaves the cluster most even and, if any does, N+1; the name settles a tie.

    `wanted`: only this host is looked at. Without `prefers_n1`, the most even cluster whatever may die then.
    """
    cluster = Cluster(sorted(hosts, key=lambda host: host.name))
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
        {one.host: str(one) for one in refused},
        (*fitting, *refused),
    )


def why_not(host: HostFigures, need: Need) -> str:
    """Say why the machine cannot go there, or nothing."""
    verdict = Cluster([host]).refuse(0, need)
    return str(verdict) if verdict else ""


def as_machine(need: Need) -> MachineFigures:
    """The wish as the machine it would be; no machine of a host has an empty id."""
    if isinstance(need, MachineFigures):
        return need
    return MachineFigures(**{one.name: getattr(need, one.name) for one in fields(need)})


def counts_n1(cluster: Cluster) -> bool:
    """Is there anything that could start elsewhere?"""
    return bool(cluster.shared)


def pick(
    cluster: Cluster,
    machine: MachineFigures,
    order: Sequence[int],
    *,
    prefers_n1: bool = True,
    must_keep_n1: bool = False,
) -> Placed | None:
    """Take the first host that keeps N+1; if none does the first, or none if it must be kept."""
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
    """Every host that fits with the score the cluster would have, best first."""
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
        # the change of each sum: of ratios, and of their squares, (x + d)² − x² = d (2x + d)
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
    """Say of each host that fits what would become of N+1, as far as it was looked at."""
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

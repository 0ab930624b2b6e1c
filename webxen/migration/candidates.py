"""Possible targets of a migration: reads rows into plain values for `precheck`, and asks placement. Reads
only.

Results are as recent as the hosts' observations; the target checks again itself.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from statistics import median
from uuid import UUID

from django.conf import settings
from django.db.models import prefetch_related_objects

from webxen.core.messages import Message
from webxen.inventory import cpu_levels
from webxen.inventory import queries as inventory
from webxen.inventory.models import Host, Pool
from webxen.inventory.placement import HostFigures, Need
from webxen.jobs import placing
from webxen.jobs.models import Job
from webxen.jobs.placing import OWN_POOL
from webxen.machines import figures as machine_figures
from webxen.machines.models import Machine
from webxen.machines.naming import domain_name
from webxen.migration.models import Move, MoveSide
from webxen.migration.precheck import USUAL_RATE, DiskToCopy, Fit, MigratingMachine, Place, check
from worker.contract import Features, hidden_features

TYPE = re.compile(r"^\s*type\s*=\s*['\"](pv|pvh|hvm)['\"]", re.MULTILINE | re.IGNORECASE)
#: period of past migrations used to measure the network's speed
LOOK_BACK = timedelta(days=30)
TELLING_BYTES = 64 << 20
#: number of targets checked for one machine, or for one host's machines, in a large fleet
NEAR = 50
#: MiB/s of a very slow disk, and the longest deadline that hosts accept
SLOW_DISK, MOST_SECONDS = 20, 48 * 3600


def migrating_machine(machine: Machine, *, next_hidden: Features = ()) -> MigratingMachine:
    """Return the machine as seen by the checks of a migration."""
    prefetch_related_objects([machine], "disks", "interfaces__network")
    return MigratingMachine(
        id=str(machine.id),
        domain=domain_name(name=machine.name, id=machine.id),
        memory_mib=machine.memory_mib,
        type=type_of(machine),
        bridges=tuple(card.network.bridge for card in machine.interfaces.all()),
        disks=tuple(
            DiskToCopy(str(disk.id), disk.pool, disk.size_gib * 1024) for disk in machine.disks.all()
        ),
        kernels=tuple(filter(None, (machine.image.kernel, machine.image.ramdisk))),
        is_off=machine.power == Machine.Power.OFF,
        hidden=hidden_features(machine.config),
        next_hidden=next_hidden,
    )


def type_of(machine: Machine) -> str:
    """Return PV, PVH or HVM: from the configuration the host reported, or as the host would choose."""
    if found := TYPE.search(machine.config):
        return found[1].upper()
    if machine.image.type != "AUTO":
        return str(machine.image.type)
    caps = machine.host.facts.get("virt_caps", "").split() if machine.host else []
    return "PVH" if {"hvm", "hap"} <= set(caps) else "PV"


def places(*, now: datetime, host_ids: Collection[UUID] | None = None) -> dict[str, Place]:
    """Return accepted hosts as seen by a migration, by name. `host_ids`: only these; None: all."""
    figures = {one.name: one for one in inventory.figures(now=now, host_ids=host_ids)}
    kept: dict[UUID, set[str]] = defaultdict(set)
    for move in kept_moves():
        kept[move.source_id].add(str(move.job.machine_id))
    return {
        host.name: _place(host, figures[host.name], frozenset(kept[host.id]))
        for host in inventory.accepted_hosts(ids=host_ids)
    }


def places_near(*, host: Host, now: datetime, most: int = NEAR) -> dict[str, Place]:
    """Return a host and the `most` likely targets of its machines, by name."""
    return places(now=now, host_ids=[host.id, *inventory.near_hosts(host=host, most=most, now=now)])


def _place(host: Host, figures: HostFigures, kept: frozenset[str]) -> Place:
    domains = None if host.domains is None else frozenset(_names(host.domains))
    return Place(
        name=host.name,
        is_accepting=figures.is_active,
        is_silent=figures.is_silent,
        has_relay=bool(host.relay_certificate and host.relay_address),
        facts=host.facts,
        memory_free_mib=figures.memory_free_mib,
        bridges=frozenset(host.bridges),
        pools={pool.name: _seen_elsewhere(pool) for pool in host.pools.all()},
        pool_free_mib=figures.pools,
        kernels=None if host.kernels is None else frozenset(host.kernels),
        kept=kept,
        # the local pool of a development host has no real disks
        file_pools=frozenset(
            pool.name for pool in host.pools.all() if pool.kind == "FILE" and pool.name != OWN_POOL
        ),
        domains=domains,
    )


def _seen_elsewhere(pool: Pool) -> str:
    """Return the id by which other hosts see this pool too; "" if only its host has it.

    A host's local directory is shared only between simulated hosts of a development set-up. The target of a
    migration checks itself whether the disks are there.
    """
    return pool.shared_id if pool.is_shared or pool.name == OWN_POOL else ""


def _names(domains: list[dict[str, str]]) -> list[str]:
    return [str(domain.get(key, "")) for domain in domains for key in ("domain", "uuid")]


def kept_moves() -> list[Move]:
    """Migrations whose source still keeps the disks that were copied."""
    ended = Move.objects.filter(
        method=Move.Method.COLD, phase=Move.Phase.ENDED, verdict=Move.Verdict.MOVED, discarded_at=None
    )
    return [move for move in ended.select_related("job__machine", "source", "target") if move.copied]


def fits(
    *,
    machine: Machine,
    now: datetime,
    one_way_is_fine: bool = False,
    wants_cold: bool = False,
    wanted: str | None = None,
) -> list[Fit]:
    """Check other hosts as targets; in a large fleet those with the most room, and `wanted`."""
    if machine.host is None:
        return []
    ids = [machine.host.id, *inventory.near_hosts(host=machine.host, most=NEAR, now=now)]
    if wanted is not None and (named := inventory.host_named(name=wanted)) is not None:
        ids.append(named.id)
    known = places(now=now, host_ids=ids)
    if machine.host.name not in known:
        return []
    source, rate = known[machine.host.name], measured_rate(now=now)
    who = migrating_machine(machine, next_hidden=cpu_levels.hidden_at_boot())
    found = [
        check(
            source=source,
            target=target,
            machine=who,
            rate_mib_s=rate,
            one_way_is_fine=one_way_is_fine,
            wants_cold=wants_cold,
        )
        for target in known.values()
        if target.name != source.name
    ]
    return sorted(found, key=lambda fit: (not fit.fits, fit.host))


def choose(*, machine: Machine, found: Sequence[Fit], now: datetime) -> Fit | None:
    """Return the fitting host that placement chooses, or None.

    Hosts that allow the migration back come first, hosts that require a shutdown last.
    """
    everywhere, knows_machines = placing.figures_among(names={fit.host for fit in found}, now=now)
    for drawback in ((False, False), (False, True), (True, False)):
        fitting = {
            fit.host: fit for fit in found if fit.fits and (fit.needs_shutdown, fit.is_one_way) == drawback
        }
        figures = [one for one in everywhere if one.name in fitting]
        choice = placing.choose(figures, need_of(machine), knows_machines=knows_machines)
        if choice.host is not None:
            return fitting[choice.host]
    return None


def need_of(machine: Machine) -> Need:
    """What the machine needs on a target; disks and image need no placement."""
    prefetch_related_objects([machine], "disks", "interfaces__network")
    disks, cards = list(machine.disks.all()), list(machine.interfaces.all())
    return Need(
        memory_mib=machine.memory_mib,
        disk_mib=0,
        image_file="",
        image_sha256="",
        pool=disks[0].pool if disks else "local",
        bridge=cards[0].network.bridge if cards else "",
        vcpus=machine.vcpus,
        group=machine_figures.group_of(project_id=machine.project_id, tags=machine.tags),
    )


def measured_rate(*, now: datetime) -> float:
    """MiB/s: the median of recent migrations, or that of a usual network."""
    sides = MoveSide.objects.filter(
        side=MoveSide.Side.SOURCE, move__verdict=Move.Verdict.MOVED, ended_at__gt=now - LOOK_BACK
    )
    told = sides.order_by("-ended_at").values_list("facts", flat=True)[:50]
    # a few megabytes are too little to measure the speed
    telling = [facts for facts in told if facts.get("bytes_sent", 0) >= TELLING_BYTES]
    seen = [rate for facts in telling if (rate := float(facts.get("rate_mib_s", 0))) > 0]
    return median(seen) if seen else USUAL_RATE


def deadline_seconds(memory_mib: int) -> int:
    """Seconds until a live or suspended migration is aborted, if its point of no return is not reached."""
    return 600 + 120 * max(1, round(memory_mib / 1024))


def cold_deadline_seconds(disk_mib: int, rate_mib_s: int) -> int:
    """The same for a cold migration: disks are written and read back on a slow disk, or at the given rate."""
    slowest = min(SLOW_DISK, rate_mib_s or SLOW_DISK)
    return min(MOST_SECONDS, round(900 + 2 * disk_mib / slowest))


def busy_hosts(*, apart_from: Move | None = None) -> tuple[dict[str, int], dict[str, int]]:
    """Number of active migrations that leave and that enter each host, by host name."""
    out: dict[str, int] = {}
    into: dict[str, int] = {}
    active = Move.objects.filter(phase__in=Move.ACTIVE)
    if apart_from is not None:
        active = active.exclude(pk=apart_from.pk)
    for source, target in active.values_list("source__name", "target__name"):
        out[source] = out.get(source, 0) + 1
        into[target] = into.get(target, 0) + 1
    return out, into


def why_wait(*, move: Move, now: datetime) -> str:
    """Return why a migration cannot begin yet, or ""."""
    limit = settings.WEBXEN_MOVES_PER_HOST
    out, into = busy_hosts(apart_from=move)
    silent = [host.name for host in (move.source, move.target) if inventory.is_silent(host=host, now=now)]
    if silent:
        return Message("MOVE_WAITS_FOR_CONTACT", hosts=silent)
    if out.get(move.source.name, 0) >= limit:
        return Message("HOST_IS_SENDING", host=move.source, n=limit)
    if into.get(move.target.name, 0) >= limit:
        return Message("HOST_IS_RECEIVING", host=move.target, n=limit)
    return ""


def open_moves_of(*, host: Host) -> list[Move]:
    """Open migrations from or to this host."""
    moves = Move.objects.filter(job__status__in=Job.OPEN).select_related("job__machine", "source", "target")
    return [move for move in moves if host.id in (move.source_id, move.target_id)]

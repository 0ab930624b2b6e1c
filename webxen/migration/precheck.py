"""Check before a migration, host by host, what would prevent it. Pure.

A reason prevents the migration; a warning is only shown. The host checks again what only it can see (memory
that can be claimed, disks that open).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from webxen.core.messages import Message
from webxen.inventory.cpu_feature_names import name_of
from webxen.inventory.cpu_levels import features
from worker.contract import Features

#: MiB/s if no migration was measured yet: a 1 Gbit/s network
USUAL_RATE = 100.0
#: seconds of a migration in addition to the copy, and seconds of pause at the end of a live one
OVERHEAD_SECONDS, BLACKOUT_SECONDS = 3.0, 0.3
#: MiB/s at which a written disk is read back, and seconds a guest takes to boot
READ_RATE, BOOT_SECONDS = 200.0, 30.0
#: part of a version number; Python also limits the number of digits it converts
VERSION_PART = re.compile(r"[0-9]{1,4}")
PV_CANNOT = Message("PV_IS_SUSPENDED")


#: words of virt_caps that an older Xen supports without printing them (libxl's physinfo,
#: LIBXL_HAVE_PHYSINFO_CAP_PV and LIBXL_HAVE_PHYSINFO_CAP_HAP_SHADOW)
PRINTED_SINCE = {"pv": (4, 12), "hap": (4, 13)}


@dataclass(frozen=True)
class Place:
    """A host as seen by a migration."""

    name: str
    is_accepting: bool = True
    is_silent: bool = False
    #: its worker has a relay: a certificate and an address
    has_relay: bool = True
    #: lines of `xl info`
    facts: Mapping[str, str] = field(default_factory=dict)
    memory_free_mib: int = 0
    bridges: frozenset[str] = frozenset()
    #: pool → the id it shares with other hosts, or ""
    pools: Mapping[str, str] = field(default_factory=dict)
    #: pool → free MiB
    pool_free_mib: Mapping[str, int] = field(default_factory=dict)
    #: kernels that guests can be started with; None: not reported
    kernels: frozenset[str] | None = None
    #: ids of machines whose disks it still keeps after they were copied to another host
    kept: frozenset[str] = frozenset()
    #: pools of files, which the host partly caches in its own memory
    file_pools: frozenset[str] = frozenset()
    #: names and uuids of its domains; None: not readable
    domains: frozenset[str] | None = frozenset()


@dataclass(frozen=True)
class DiskToCopy:
    """A disk of the machine."""

    id: str
    pool: str
    size_mib: int


@dataclass(frozen=True)
class MigratingMachine:
    """The machine to be migrated."""

    id: str
    domain: str
    memory_mib: int
    #: PV, PVH or HVM
    type: str
    bridges: tuple[str, ...] = ()
    disks: tuple[DiskToCopy, ...] = ()
    #: kernel files of the host that it boots from
    kernels: tuple[str, ...] = ()
    is_off: bool = False
    #: features hidden at its last boot, and those that would be hidden at its next one
    hidden: Features = ()
    next_hidden: Features = ()

    @property
    def pools(self) -> tuple[str, ...]:
        return tuple(disk.pool for disk in self.disks)


@dataclass(frozen=True)
class Fit:
    """Whether and how the machine can migrate to a host, and how long it does not run."""

    host: str
    method: str
    method_why: str
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]
    #: it can migrate there but, as far as is known, not back
    is_one_way: bool
    expected_seconds: float
    away_seconds: float
    #: ids of the disks that would be copied
    copied: tuple[str, ...] = ()
    #: it runs, and would be shut down for this
    needs_shutdown: bool = False

    @property
    def fits(self) -> bool:
        return not self.reasons


def check(
    *,
    source: Place,
    target: Place,
    machine: MigratingMachine,
    rate_mib_s: float = USUAL_RATE,
    one_way_is_fine: bool = False,
    wants_cold: bool = False,
) -> Fit:
    """Check one target for one machine. `rate_mib_s`: expected speed of the copy."""
    if wants_cold or machine.is_off or _why_cold(source, target, machine):
        return _check_cold(source, target, machine, rate_mib_s)
    one_way = _one_way(source, target, machine)
    reasons = [why for why in _reasons(source, target, machine) if why]
    if one_way and not one_way_is_fine:
        reasons.append(one_way)
    is_live = machine.type != "PV"
    copying = machine.memory_mib / max(rate_mib_s, 1.0)
    warnings = [] if one_way == "" or not one_way_is_fine else [one_way]
    if unknown := _unknown_features(source, target):
        warnings.append(unknown)
    return Fit(
        host=target.name,
        method="LIVE" if is_live else "SUSPENDED",
        method_why="" if is_live else PV_CANNOT,
        reasons=tuple(reasons),
        warnings=tuple(warnings),
        is_one_way=bool(one_way),
        expected_seconds=round(copying + OVERHEAD_SECONDS, 1),
        away_seconds=BLACKOUT_SECONDS if is_live else round(copying + OVERHEAD_SECONDS, 1),
    )


def _check_cold(source: Place, target: Place, machine: MigratingMachine, rate_mib_s: float) -> Fit:
    """Check a cold migration: CPU and Xen version do not matter, space for copied disks does."""
    copied = [disk for disk in machine.disks if not is_shared(disk.pool, source, target)]
    size_mib = sum(disk.size_mib for disk in copied)
    reading, copying = size_mib / READ_RATE, size_mib / max(rate_mib_s, 1.0)
    # The target reads everything at the end. A running machine is copied before it is shut down; the source
    # then compares everything once more.
    away = 0.0 if machine.is_off else 2 * reading + OVERHEAD_SECONDS + BOOT_SECONDS
    expected = copying + (away or reading + OVERHEAD_SECONDS)
    reasons = (
        *_places(source, target),
        _virtualisation(target, machine),
        _architecture(source, target),
        _memory(target, machine),
        _bridges(target, machine),
        *_room(target, copied),
        _kernels(target, machine),
        Message("OLD_DISKS_THERE") if copied and machine.id in target.kept else "",
        _name(target, machine),
    )
    return Fit(
        host=target.name,
        method="COLD",
        method_why=_why_cold(source, target, machine),
        reasons=tuple(why for why in reasons if why),
        warnings=(),
        is_one_way=False,
        expected_seconds=round(expected, 1),
        away_seconds=round(away, 1),
        copied=tuple(disk.id for disk in copied),
        needs_shutdown=not machine.is_off,
    )


def _why_cold(source: Place, target: Place, machine: MigratingMachine) -> str:
    """Return why it cannot migrate while it runs, or ""."""
    apart = sorted({pool for pool in machine.pools if not is_shared(pool, source, target)})
    if apart:
        return Message("DISKS_ON_ONE_HOST", pools=apart, host=source.name)
    files = sorted(set(machine.pools) & source.file_pools)
    return Message("DISKS_ARE_CACHED_FILES", pools=files) if files else ""


def _room(target: Place, copied: Sequence[DiskToCopy]) -> Iterator[str]:
    for pool in sorted({disk.pool for disk in copied}):
        needed = sum(disk.size_mib for disk in copied if disk.pool == pool)
        if pool not in target.pools:
            yield Message("LACKS_POOL", pool=pool)
        elif (free := target.pool_free_mib.get(pool, 0)) < needed:
            yield Message("POOL_TOO_SMALL", free_mib=free, pool=pool, needed_mib=needed)


def _kernels(target: Place, machine: MigratingMachine) -> str:
    missing = [] if target.kernels is None else [one for one in machine.kernels if one not in target.kernels]
    return Message("LACKS_KERNELS", kernels=missing) if missing else ""


def _places(source: Place, target: Place) -> tuple[str, ...]:
    """Reasons that concern only the two hosts."""
    if source.name == target.name:
        return (Message("ON_THIS_HOST_ALREADY"),)
    return (
        "" if target.is_accepting else Message("TAKES_NO_MACHINES"),
        Message("TARGET_NO_CONTACT") if target.is_silent else "",
        Message("SOURCE_NO_CONTACT", host=source.name) if source.is_silent else "",
        "" if target.has_relay else Message("TARGET_HAS_NO_RELAY"),
        "" if source.has_relay else Message("SOURCE_HAS_NO_RELAY", host=source.name),
    )


def _reasons(source: Place, target: Place, machine: MigratingMachine) -> tuple[str, ...]:
    return (
        *_places(source, target),
        _virtualisation(target, machine),
        _architecture(source, target),
        _older_xen(source, target),
        _features(source, target, machine),
        _memory(target, machine),
        _bridges(target, machine),
        _kernels(target, machine),
        _name(target, machine),
    )


def _memory(target: Place, machine: MigratingMachine) -> str:
    if target.memory_free_mib >= machine.memory_mib:
        return ""
    return Message("TARGET_MEMORY", free_mib=max(target.memory_free_mib, 0), needed_mib=machine.memory_mib)


def _bridges(target: Place, machine: MigratingMachine) -> str:
    missing = [bridge for bridge in machine.bridges if bridge not in target.bridges]
    return Message("LACKS_BRIDGES", bridges=missing) if missing else ""


def away(seconds: float) -> int:
    """Whole minutes, in seconds, as a sentence says it: nobody needs to know it to the second."""
    return 60 * max(1, round(seconds / 60))


def is_shared(pool: str, source: Place, target: Place) -> bool:
    """Whether both hosts see the same pool under this name."""
    return bool(source.pools.get(pool)) and source.pools.get(pool) == target.pools.get(pool)


def is_in_the_way(target: Place, machine: MigratingMachine) -> bool:
    """Does something on the host refuse just this machine, and no other of its kind?"""
    return machine.id in target.kept or bool(_taken(target, machine))


def _taken(target: Place, machine: MigratingMachine) -> frozenset[str]:
    return (target.domains or frozenset()) & {machine.domain, f"{machine.domain}--incoming", machine.id}


def _name(target: Place, machine: MigratingMachine) -> str:
    if target.domains is None:
        return Message("DOMAINS_NOT_READ")
    taken = _taken(target, machine)
    return Message("DOMAIN_THERE_ALREADY") if taken else ""


def _virtualisation(target: Place, machine: MigratingMachine) -> str:
    caps = str(target.facts.get("virt_caps", "")).split()
    if not caps:
        return ""
    version = xen_version(target.facts)
    needed = {"PV": ("pv",), "PVH": ("hvm", "hap"), "HVM": ("hvm",)}.get(machine.type, ())
    missing = [
        cap
        for cap in needed
        if cap not in caps and (cap not in PRINTED_SINCE or (version and version >= PRINTED_SINCE[cap]))
    ]
    return Message("CANNOT_RUN_TYPE", type=machine.type, missing=missing) if missing else ""


def _architecture(source: Place, target: Place) -> str:
    here, there = source.facts.get("machine", ""), target.facts.get("machine", "")
    return (
        Message("ARCHITECTURE_DIFFERS", there=there, host=source.name, here=here)
        if here and there and here != there
        else ""
    )


# --- processors and versions -----------------------------------------------------------------------


def missing_features(source: Place, target: Place, hidden: Features = ()) -> tuple[str, ...]:
    """Return the names of features that a guest may have seen on the source and that the target lacks."""
    here, there = features(source.facts), features(target.facts)
    unseen = hidden or (0,) * len(here)
    lost = [mine & ~its & ~veiled for mine, its, veiled in zip(here, there, unseen, strict=True)]
    return tuple(
        name_of(place, bit) for place, bits in enumerate(lost) for bit in range(32) if bits >> bit & 1
    )


def _features(source: Place, target: Place, machine: MigratingMachine) -> str:
    if not features(source.facts) or not features(target.facts):
        return ""
    lost = missing_features(source, target, machine.hidden)
    if not lost:
        return ""
    few = [*lost[:6], *(["…"] if len(lost) > 6 else [])]
    if missing_features(source, target, machine.next_hidden):
        return Message("CPU_LACKS", n=len(lost), host=source.name, features=few)
    return Message("CPU_LACKS_RESTART_HELPS", n=len(lost), host=source.name, features=few)


def _unknown_features(source: Place, target: Place) -> str:
    unsaid = [place.name for place in (source, target) if not features(place.facts)]
    return Message("CPU_FEATURES_UNKNOWN", hosts=unsaid) if unsaid else ""


def xen_version(facts: Mapping[str, str]) -> tuple[int, int] | None:
    """Return major and minor version; within one minor version Xen reads its streams in both directions."""
    major, minor = str(facts.get("xen_major", "")), str(facts.get("xen_minor", ""))
    if not (VERSION_PART.fullmatch(major) and VERSION_PART.fullmatch(minor)):
        return None
    return int(major), int(minor)


def _older_xen(source: Place, target: Place) -> str:
    here, there = xen_version(source.facts), xen_version(target.facts)
    if here is None or there is None or there >= here:
        return ""
    return Message("XEN_OLDER", there=_dotted(there), here=_dotted(here), host=source.name)


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def _one_way(source: Place, target: Place, machine: MigratingMachine) -> str:
    """Return why it could not migrate back, or ""."""
    here, there = xen_version(source.facts), xen_version(target.facts)
    if here is not None and there is not None and there > here:
        return Message("XEN_NEWER", there=_dotted(there), here=_dotted(here), host=source.name)
    if (
        features(source.facts)
        and features(target.facts)
        and (added := missing_features(target, source, machine.next_hidden))
    ):
        return Message("CPU_HAS_MORE", n=len(added), host=source.name)
    return ""

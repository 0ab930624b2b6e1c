"""Compare a snapshot of the database with what hosts reported. Pure: plain values in, findings out.

What is not visible is not judged: machines of a silent host are neither missing nor wrong. Neither is a
machine that is being changed, or was changed after the host's observation.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from webxen.core.messages import Message
from webxen.diagnostics import address_findings, missing
from webxen.diagnostics.address_findings import fate_of
from webxen.diagnostics.findings import Finding, Severity, in_order
from webxen.diagnostics.missing import made_here
from webxen.diagnostics.snapshot import HostLook, MachineRow, Picture, State
from worker.contract import DomainSeen, Holdings, VolumeSeen

#: `xl list` rounds, and a guest's firmware and tables take a few MiB
MEMORY_TOLERANCE_MIB = 8
#: a domain with one of these powers may write to its disk
MAY_WRITE = frozenset({"RUNNING", "PAUSED", "SUSPENDED", "UNKNOWN"})
#: states whose disks must exist; remnants of a failed build or delete are removed by deleting
BUILT = frozenset({State.READY})


def compare(picture: Picture) -> list[Finding]:
    """Return every difference, the most severe first."""
    return in_order(
        [
            *_held(picture),
            *_unseen(picture),
            *_clocks(picture),
            *_domains(picture),
            *_powers(picture),
            *missing.find(picture),
            *_volumes(picture),
            *_disks(picture),
            *_fences(picture),
            *_jobs(picture),
            *_memory(picture),
            *address_findings.find(picture),
            *_images(picture),
            *picture.quota,
            *picture.own,
        ]
    )


def _held(picture: Picture) -> Iterator[Finding]:
    if picture.held:
        yield Finding("DATABASE_OLDER", Message("ORDERS_HELD", why=picture.held))


# --- what was not visible ------------------------------------------------------------------------


def _unseen(picture: Picture) -> Iterator[Finding]:
    for host in picture.hosts:
        if host.is_silent:
            said = Message("HOST_NEVER_SEEN", host=host.name)
            if host.seen_seconds_ago is not None:
                said = Message("HOST_LAST_SEEN", host=host.name, ago_seconds=host.seen_seconds_ago)
            yield Finding("HOST_SILENT", said, (host.name,))
            continue
        if host.domains is None:
            said = Message("DOMAINS_UNREADABLE", host=host.name)
            yield Finding("DOMAINS_UNREADABLE", said, (host.name,))
        if host.holdings is None:
            said = Message("HOLDINGS_UNSEEN", host=host.name)
            yield Finding("HOLDINGS_UNSEEN", said, (host.name,))
            continue
        for pool in sorted(set(host.pools) - set(host.holdings.pools)):
            said = Message("POOL_UNSEEN", pool=pool)
            yield Finding("POOL_UNSEEN", said, (host.name,))
        if host.holdings.is_cut:
            said = Message("HOLDINGS_CUT", host=host.name, count=len(host.holdings.volumes))
            yield Finding("HOLDINGS_CUT", said, (host.name,))


def _clocks(picture: Picture) -> Iterator[Finding]:
    for host in picture.looked:
        if host.wrong_clock is not None:
            ahead = 60 * max(1, host.wrong_clock.ahead_seconds // 60)
            if host.wrong_clock.drops_orders:
                said = Message("CLOCK_DROPS_ORDERS", host=host.name, ahead_seconds=ahead)
            else:
                said = Message("CLOCK_AHEAD", host=host.name, ahead_seconds=ahead)
            yield Finding("CLOCK_AHEAD", said, (host.name,))


# --- domains -------------------------------------------------------------------------------------


def _domains(picture: Picture) -> Iterator[Finding]:
    places: dict[str, list[tuple[HostLook, DomainSeen]]] = defaultdict(list)
    for host in picture.looked:
        for domain in host.domains or ():
            if not _is_left_alone(picture, host, domain.uuid):
                # a domain without uuid is counted per host
                places[domain.uuid or f"{host.name}:{domain.domid}"].append((host, domain))
    for uuid, found in places.items():
        machine = picture.known.get(uuid)
        writers = tuple(sorted(host.name for host, domain in found if domain.power in MAY_WRITE))
        name = machine.name if machine else found[0][1].domain
        if len(writers) > 1:
            said = Message("MACHINE_RUNS_TWICE", name=name, hosts=writers, home=_home(machine))
            yield Finding("MACHINE_RUNS_TWICE", said, writers, name, uuid)
            continue
        for host, domain in found:
            yield from _domain(host, domain, machine)


def _is_left_alone(picture: Picture, host: HostLook, uuid: str) -> bool:
    """Whether staff marked the domain as known and it has not turned out to be a machine of the portal."""
    return uuid in host.left_alone and uuid not in picture.known and not made_here(host, uuid)


def _domain(host: HostLook, domain: DomainSeen, machine: MachineRow | None) -> Iterator[Finding]:
    shape = {"domid": domain.domid, "power": domain.power, "size_mib": domain.memory_mib}
    at = Message("DOMAIN_NAMELESS", **shape)
    if domain.domain:
        at = Message("DOMAIN_IS", name=domain.domain, **shape)
    if machine is None:
        if not made_here(host, domain.uuid):  # otherwise reported by `missing`, with its disks
            said = Message("DOMAIN_UNKNOWN", domain=at, uuid=domain.uuid)
            yield Finding("DOMAIN_UNKNOWN", said, (host.name,), domain.domain, domain.uuid)
    elif machine.is_moving:
        return
    elif machine.is_deleted:
        said = Message("DOMAIN_OF_DELETED", name=machine.name, domain=at)
        yield Finding("DOMAIN_OF_DELETED", said, (host.name,), machine.name, machine.id)
    elif machine.host != host.name:
        said = Message("MACHINE_ELSEWHERE", name=machine.name, domain=at, host=host.name, home=_home(machine))
        yield Finding("MACHINE_ELSEWHERE", said, (host.name,), machine.name, machine.id)
    elif domain.power in ("RUNNING", "PAUSED"):
        yield from _shape(host, domain, machine)


def _shape(host: HostLook, domain: DomainSeen, machine: MachineRow) -> Iterator[Finding]:
    about = ((host.name,), machine.name, machine.id)
    if abs(domain.memory_mib - machine.memory_mib) > MEMORY_TOLERANCE_MIB:
        said = Message(
            "MEMORY_WRONG", name=machine.name, actual_mib=domain.memory_mib, recorded_mib=machine.memory_mib
        )
        yield Finding("MEMORY_WRONG", said, *about)
    if domain.vcpus != machine.vcpus:
        said = Message("VCPUS_WRONG", name=machine.name, actual=domain.vcpus, recorded_count=machine.vcpus)
        yield Finding("VCPUS_WRONG", said, *about)


def _powers(picture: Picture) -> Iterator[Finding]:
    seen = {
        host.name: {domain.uuid: domain.power for domain in host.domains}
        for host in picture.looked
        if host.domains is not None
    }
    for machine in picture.machines:
        if machine.is_moving or machine.state not in (State.READY, State.FAILED) or machine.host not in seen:
            continue
        power = seen[machine.host].get(machine.id, "OFF")
        if power != machine.power:
            said = Message("POWER_WRONG", name=machine.name, state=power, recorded=machine.power)
            yield Finding(
                "POWER_WRONG",
                said,
                (machine.host,),
                machine.name,
                machine.id,
                target=machine.id,
                value=power,
            )


# --- disks ---------------------------------------------------------------------------------------


def _volumes(picture: Picture) -> Iterator[Finding]:
    """Check every volume on a host for its owner."""
    known = picture.known
    for host in picture.looked:
        holdings = host.holdings or Holdings()
        for volume in holdings.volumes:
            yield from _volume(picture, host, volume, known.get(volume.machine_id))
        with_volumes = {volume.machine_id for volume in holdings.volumes}
        for machine_id in holdings.machines:
            machine = known.get(machine_id)
            if machine_id in with_volumes or (machine and (machine.is_moving or not machine.is_deleted)):
                continue
            if machine is None and made_here(host, machine_id):
                continue
            said = Message("MACHINE_FILES_ORPHAN", id=machine_id, fate=fate_of(machine))
            yield Finding("MACHINE_FILES_ORPHAN", said, (host.name,), _name(machine), machine_id)


def _volume(
    picture: Picture, host: HostLook, volume: VolumeSeen, machine: MachineRow | None
) -> Iterator[Finding]:
    if machine is not None and (machine.is_moving or host.name in machine.kept_on - {machine.host}):
        return
    what = Message("VOLUME_IS", disk=volume.disk_id, size_mib=volume.size_mib, pool=volume.pool)
    if volume.is_draft:
        what = Message("DRAFT_IS", disk=volume.disk_id, size_mib=volume.size_mib, pool=volume.pool)
    about = ((host.name,), _name(machine), volume.machine_id)
    if machine is None and made_here(host, volume.machine_id):
        return
    if machine is None or machine.is_deleted:
        said = Message("VOLUME_ORPHAN", volume=what, id=volume.machine_id, fate=fate_of(machine))
        # no command to remove it is ever given: some domain may have it open
        is_in_use = volume.machine_id in picture.domains_anywhere
        weight = None if machine is None or is_in_use else Severity.WARNING
        yield Finding("VOLUME_ORPHAN", said, *about, weight=weight)
        return
    row = next((disk for disk in machine.disks if disk.id == volume.disk_id), None)
    if row is None:
        # The machine exists and its rows may be wrong, so no command to remove the volume is given.
        if machine.disks:
            said = Message("VOLUME_NOT_RECORDED", volume=what, name=machine.name)
            yield Finding("VOLUME_ORPHAN", said, *about)
    elif machine.host != host.name:
        said = Message(
            "VOLUME_ELSEWHERE", volume=what, name=machine.name, host=host.name, home=_home(machine)
        )
        yield Finding("VOLUME_ELSEWHERE", said, *about)
    elif not volume.is_draft and volume.pool == row.pool and volume.size_mib != row.size_mib:
        said = Message("VOLUME_SIZE", volume=what, name=machine.name, recorded_mib=row.size_mib)
        yield Finding("VOLUME_SIZE", said, *about)


def _name(machine: MachineRow | None) -> str:
    return machine.name if machine else ""


def _home(machine: MachineRow | None) -> Message:
    """Describe where the machine belongs by the database."""
    if machine is None:
        return Message("HOME_IS_UNKNOWN")
    return Message("HOME_IS", host=machine.host) if machine.host else Message("HOME_IS_NOWHERE")


def _disks(picture: Picture) -> Iterator[Finding]:
    """Check every disk in the database for its volume."""
    looks = {host.name: host for host in picture.looked}
    for machine in picture.machines:
        if machine.state not in BUILT or machine.is_moving:
            continue
        if not machine.disks:
            said = Message("MACHINE_WITHOUT_DISK", name=machine.name, state=machine.state)
            yield Finding("MACHINE_WITHOUT_DISK", said, _at(machine), machine.name, machine.id)
        look = looks.get(machine.host)
        if look is not None and look.holdings is not None and not look.holdings.is_cut:
            yield from _missing(machine, look)


def _missing(machine: MachineRow, look: HostLook) -> Iterator[Finding]:
    holdings, receipt = look.holdings or Holdings(), look.receipts.get(machine.id)
    there = {(v.machine_id, v.disk_id, v.pool) for v in holdings.volumes if not v.is_draft}
    for disk in machine.disks:
        if disk.pool not in holdings.pools or (machine.id, disk.id, disk.pool) in there:
            continue
        if receipt is not None and receipt.order == "DELETE":
            said = Message(
                "DELETED_BUT_UNRECORDED", name=machine.name, host=machine.host, ordered_at=receipt.ordered
            )
            yield Finding("MACHINE_DELETED_SINCE", said, _at(machine), machine.name, machine.id)
            return
        else:
            said = Message(
                "VOLUME_MISSING", disk=disk.id, name=machine.name, pool=disk.pool, host=machine.host
            )
            yield Finding("VOLUME_MISSING", said, _at(machine), machine.name, machine.id)


def _at(machine: MachineRow) -> tuple[str, ...]:
    return (machine.host,) if machine.host else ()


# --- orders --------------------------------------------------------------------------------------


def _fences(picture: Picture) -> Iterator[Finding]:
    known = picture.known
    for host in picture.looked:
        for seen in (host.holdings or Holdings()).fences:
            machine = known.get(seen.machine_id)
            if machine is None or machine.is_deleted or machine.is_moving or seen.fence <= machine.fence:
                continue
            numbers = {"host": host.name, "there": seen.fence, "name": machine.name, "here": machine.fence}
            said = Message("FENCE_BEHIND_LOST", **numbers)
            if seen.fence > machine.fence + 1:
                said = Message("FENCE_BEHIND_REFUSES", **numbers)
            yield Finding(
                "FENCE_BEHIND",
                said,
                (host.name,),
                machine.name,
                machine.id,
                target=machine.id,
                value=str(seen.fence),
            )


def _jobs(picture: Picture) -> Iterator[Finding]:
    known, names = {job.id for job in picture.jobs}, picture.known
    for job in picture.jobs:
        if job.is_overdue:
            said = Message("JOB_OVERDUE", id=job.id, job=job.kind, name=job.machine)
            yield Finding("JOB_OVERDUE", said, (job.host,) if job.host else (), job.machine)
    for host in picture.looked:
        for seen in (host.holdings or Holdings()).jobs:
            if seen.job_id not in known:
                said = Message("JOB_ONLY_ON_HOST", host=host.name, id=seen.job_id)
                name = _name(names.get(seen.machine_id))
                yield Finding("JOB_ONLY_ON_HOST", said, (host.name,), name, seen.machine_id)


# --- figures and images -----------------------------------------------------------------------


def _memory(picture: Picture) -> Iterator[Finding]:
    for host in picture.hosts:
        if host.memory_reserved_mib != host.memory_held_mib:
            said = Message(
                "HOST_MEMORY_DRIFT",
                reserved_mib=host.memory_reserved_mib,
                host=host.name,
                held_mib=host.memory_held_mib,
            )
            yield Finding(
                "HOST_MEMORY_DRIFT",
                said,
                (host.name,),
                target=host.name,
                value=str(host.memory_reserved_mib),
            )


def _images(picture: Picture) -> Iterator[Finding]:
    for file in sorted({file for host in picture.looked for file in host.images}):
        copies = {host.name: host.images[file] for host in picture.looked if file in host.images}
        wanted = picture.images.get(file)
        if wanted is not None:
            wrong = sorted(name for name, digest in copies.items() if digest != wanted)
            for name in wrong:
                said = Message(
                    "IMAGE_DIFFERS", image=file, host=name, seen=copies[name][:12], wanted=wanted[:12]
                )
                yield Finding("IMAGE_DIFFERS", said, (name,))
        elif len(set(copies.values())) > 1:
            said = Message("IMAGE_VARIES", image=file, copies=_list(copies.items()))
            yield Finding("IMAGE_DIFFERS", said, tuple(sorted(copies)))


def _list(copies: Iterable[tuple[str, str]]) -> list[str]:
    return [f"{name} {digest[:12]}…" for name, digest in sorted(copies)]

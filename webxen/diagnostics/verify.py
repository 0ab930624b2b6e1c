"""`manage.py verify`: read the database for the comparison, and correct what is provably safe to correct.

Without `fixed_by` nothing is written. With it, only database rows change, each by a conditional UPDATE and
with an audit entry: never a disk, never a domain.
"""

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.db import IntegrityError, OperationalError, connection, transaction
from django.db.models import Q, QuerySet

from webxen.accounts.models import User
from webxen.core import audit
from webxen.core.errors import NotFoundError
from webxen.diagnostics import compare, own_findings, quota_drift
from webxen.diagnostics.findings import Finding
from webxen.diagnostics.snapshot import AddressRow, DiskRow, HostLook, JobRow, MachineRow, Picture, ReceiptRow
from webxen.inventory import operations as inventory
from webxen.inventory import queries as inventory_queries
from webxen.inventory import restores
from webxen.inventory.models import Address, Host, Image
from webxen.jobs import evidence, observing, timeouts
from webxen.jobs.models import Job
from webxen.machines import foreign_domains, lifecycle
from webxen.machines.models import Machine
from webxen.migration import candidates
from worker import contract

#: two rounds of the sweep, which should have ended the job
OVERDUE = timedelta(seconds=30)


@dataclass(frozen=True)
class Verdict:
    """What was compared, found and corrected."""

    picture: Picture
    findings: tuple[Finding, ...]
    mended: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        looked = self.picture.looked
        volumes = sum(len(host.holdings.volumes) for host in looked if host.holdings)
        domains = sum(len(host.domains or ()) for host in looked)
        living = sum(not machine.is_deleted for machine in self.picture.machines)
        seen = (
            f"{len(looked)} of {len(self.picture.hosts)} hosts, {living} machines, {domains} domains and"
            f" {volumes} volumes were compared"
        )
        if not self.findings:
            return f"{seen}: all agree."
        mendable = sum(finding.is_mendable for finding in self.findings)
        return f"{seen}: {len(self.findings)} findings, {mendable} of which --fix can mend."


def verify(*, host: str | None, fixed_by: User | None, now: datetime) -> Verdict:
    """Compare the database with the hosts. Raises NotFoundError.

    `host`: report only what concerns this host. `fixed_by`: the staff user in whose name safe corrections are
    made; None: no corrections.
    """
    if host is not None and inventory_queries.host_named(name=host) is None:
        raise NotFoundError(f"There is no host named {host}.")
    verdict = _look(host, now)
    if fixed_by is None:
        return verdict
    mendable = [finding for finding in verdict.findings if finding.is_mendable]
    mended = [said for finding in mendable if (said := _mend(finding, fixed_by, now))]
    after = _look(host, now)
    return Verdict(after.picture, after.findings, tuple(mended))


def _look(host: str | None, now: datetime) -> Verdict:
    picture = read(now=now)
    findings = compare.compare(picture)
    return Verdict(picture, tuple(f for f in findings if host is None or host in f.hosts))


# --- reading -------------------------------------------------------------------------------------


def read(*, now: datetime) -> Picture:
    """Read everything that is compared, in one consistent snapshot."""
    with _one_instant("REPEATABLE READ, READ ONLY"):
        return _read(now)


@contextlib.contextmanager
def _one_instant(isolation: str) -> Iterator[None]:
    """A transaction with a consistent snapshot: the default on SQLite, an isolation level on PostgreSQL."""
    is_outermost = not connection.in_atomic_block
    with transaction.atomic():
        if is_outermost and connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute(f"SET TRANSACTION ISOLATION LEVEL {isolation}")
        yield


def _read(now: datetime) -> Picture:
    hosts = list(_hosts())
    observations = {host.id: _observation(host) for host in hosts}
    jobs = _late_jobs(hosts)
    addresses = list(Address.objects.select_related("network"))
    moving = {job.machine_id for job in jobs}
    machines = _machines(observations.values(), moving | {address.holder for address in addresses})
    holders = quota_drift.holders()
    held = {(address.holder, address.ipv4) for address in addresses}
    restore = restores.open_restore()
    receipts = _receipts()
    kept = [(move.job.machine_id, move.source.name) for move in candidates.kept_moves()]
    known = foreign_domains.left_alone_on(hosts)
    return Picture(
        hosts=tuple(
            replace(
                _host(host, observations[host.id], machines, holders, receipts.get(host.id, {}), now),
                left_alone=known[host.id],
            )
            for host in hosts
        ),
        machines=tuple(
            _machine(machine, held, is_moving=machine.id in moving, kept=kept) for machine in machines
        ),
        jobs=tuple(_job(job, now) for job in jobs),
        addresses=tuple(
            AddressRow(address.ipv4, address.network.name, str(address.holder)) for address in addresses
        ),
        images=dict(Image.objects.values_list("file", "sha256")),
        held=restore.why if restore else "",
        quota=tuple(quota_drift.find(machines=machines)),
        own=tuple(own_findings.find(now=now)),
    )


def _hosts() -> QuerySet[Host]:
    """Accepted hosts, and others only if machines of the portal should be on them."""
    living = Machine.objects.exclude(state=Machine.State.DELETED).filter(host__isnull=False)
    believed = Q(state__in=(Host.State.ACTIVE, Host.State.DRAINING))
    return Host.objects.filter(believed | Q(id__in=living.values("host"))).prefetch_related("pools")


def _observation(host: Host) -> contract.Observation:
    """The host's last observation as stored, validated as strictly as on arrival."""
    untrusted: dict[str, object] = {
        "kind": contract.Observation.kind,
        "host": host.name,
        "facts": {},
        "pools": [],
        "bridges": [],
        "domains": host.domains,
        "holdings": host.holdings,
    }
    try:
        said = contract.decode(untrusted)
    except contract.BadEnvelope:
        said = contract.Observation(host.name, {}, (), (), None)
    assert isinstance(said, contract.Observation)  # noqa: S101 - by its kind
    return said


def _late_jobs(hosts: Iterable[Host]) -> list[Job]:
    """Jobs that are open or ended after their host's observation: their machines are not judged."""
    late = Q(status__in=Job.OPEN)
    for host in hosts:
        if host.observed_at is not None:
            late |= Q(host=host, finished_at__gt=host.observed_at - observing.SETTLING)
    return list(Job.objects.filter(late).select_related("machine", "host", "move"))


def _machines(observations: Iterable[contract.Observation], wanted: set[UUID]) -> list[Machine]:
    """All machines, and those deleted ones of which a host still has something."""
    named = set(wanted)
    for said in observations:
        holdings = said.holdings or contract.Holdings()
        named |= _uuids(domain.uuid for domain in said.domains or ())
        named |= _uuids(volume.machine_id for volume in holdings.volumes)
        named |= _uuids(holdings.machines)
    living = Machine.objects.exclude(state=Machine.State.DELETED)
    rows = {machine.id: machine for machine in _with_parts(living)}
    gone = list(named - set(rows))
    for start in range(0, len(gone), 500):  # SQLite limits the number of parameters
        rows |= {m.id: m for m in _with_parts(Machine.objects.filter(id__in=gone[start : start + 500]))}
    return list(rows.values())


def _with_parts(machines: QuerySet[Machine]) -> QuerySet[Machine]:
    return machines.select_related("host", "project").prefetch_related("disks", "interfaces__network")


def _uuids(untrusted: Iterable[str]) -> set[UUID]:
    found = set()
    for text in untrusted:
        try:
            found.add(UUID(text))
        except ValueError:
            continue  # a folder created by hand: reported under its name
    return found


def _host(
    host: Host,
    said: contract.Observation,
    machines: list[Machine],
    holders: set[UUID],
    receipts: dict[str, ReceiptRow],
    now: datetime,
) -> HostLook:
    own = [machine for machine in machines if machine.host_id == host.id]
    living = [machine for machine in own if machine.state == Machine.State.READY]
    pools = {pool.name for pool in host.pools.all()}
    pools |= {disk.pool for machine in living for disk in machine.disks.all()}
    seconds = 0 if host.observed_at is None else int((now - host.observed_at).total_seconds())
    return HostLook(
        name=host.name,
        seen="was never heard of" if host.observed_at is None else f"was last heard of {seconds} seconds ago",
        is_silent=inventory_queries.is_silent(host=host, now=now),
        domains=said.domains,
        holdings=said.holdings,
        pools=tuple(sorted(pools)),
        images=host.images,
        memory_reserved_mib=host.memory_reserved_mib,
        memory_held_mib=sum(machine.memory_mib for machine in own if machine.id in holders),
        receipts=receipts,
        addresses=tuple((seen["machine_id"], seen["bridge"], seen["ipv4"]) for seen in host.addresses),
        wrong_clock=inventory_queries.wrong_clock_of(host=host, now=now),
    )


def _receipts() -> dict[UUID, dict[str, ReceiptRow]]:
    """Receipts that no row explains, by host and machine."""
    found: dict[UUID, dict[str, ReceiptRow]] = defaultdict(dict)
    for seen in restores.receipts():
        try:
            receipt = evidence.open_receipt(text=seen.text, host=seen.host.name)
        except contract.BadEnvelope:
            continue  # the portal's key was changed since: it is no evidence any more
        found[seen.host_id][str(seen.machine_id)] = ReceiptRow(
            name=receipt.name,
            project=receipt.project,
            owner=receipt.owner,
            order=receipt.order,
            made=f"{datetime.fromtimestamp(receipt.created_at, UTC):%Y-%m-%d %H:%M}",
            ordered=f"{seen.at:%Y-%m-%d %H:%M}",
        )
    return found


def _machine(
    machine: Machine, held: set[tuple[UUID, str]], *, is_moving: bool, kept: list[tuple[UUID, str]]
) -> MachineRow:
    return MachineRow(
        id=str(machine.id),
        name=machine.name,
        state=machine.state,
        power=machine.power,
        host=machine.host.name if machine.host else "",
        vcpus=machine.vcpus,
        memory_mib=machine.memory_mib,
        fence=machine.fence,
        disks=tuple(DiskRow(str(disk.id), disk.pool, disk.size_gib * 1024) for disk in machine.disks.all()),
        is_moving=is_moving,
        kept_on=frozenset(host for machine_id, host in kept if machine_id == machine.id),
        addresses=tuple(
            (card.network.bridge, card.ipv4, (machine.id, card.ipv4) in held)
            for card in machine.interfaces.all()
            if card.ipv4
        ),
    )


def _job(job: Job, now: datetime) -> JobRow:
    last = timeouts.ends_by(job=job, now=now)
    return JobRow(
        id=str(job.id),
        kind=job.kind,
        machine=job.machine.name,
        host=job.host.name if job.host else "",
        is_overdue=last is not None and now > last + OVERDUE,
    )


# --- mending -------------------------------------------------------------------------------------


MENDERS: dict[str, Callable[[Finding, User, datetime], str]] = {
    "POWER_WRONG": lambda finding, _, now: _mend_power(finding, now),
    "FENCE_BEHIND": lambda finding, _, now: _mend_fence(finding, now),
    "HOST_MEMORY_DRIFT": lambda finding, _, now: _mend_host_memory(finding, now),
    "ADDRESS_OF_DELETED": lambda finding, _, now: _mend_address(finding, now),
    "SEED_KEPT": lambda finding, *_: own_findings.drop_seed(machine_id=finding.target),
    "QUOTA_DRIFT": lambda _, staff, now: quota_drift.mend(staff=staff, now=now),
    "RESERVATION_LOST": lambda _, staff, now: quota_drift.mend(staff=staff, now=now),
}


def _mend(finding: Finding, staff: User, now: datetime) -> str:
    """Correct one finding; return what was done, or "" if the row has changed since."""
    try:
        with _one_instant("REPEATABLE READ"):
            said = MENDERS[finding.code](finding, staff, now)
            if said:
                _record(finding, said, staff, now)
    except (IntegrityError, OperationalError):
        # a constraint refused the value, or the row was changed meanwhile: found again next time
        return ""
    return said


def _record(finding: Finding, said: str, staff: User, now: datetime) -> None:
    kind = "machine" if finding.machine_id else "host" if finding.hosts else "project"
    audit.record(
        actor=staff,
        action=f"MEND_{finding.code}",
        target_kind=kind,
        target_id=finding.machine_id or finding.target,
        target_name=finding.machine or finding.target,
        detail=f"{finding.said} {said}",
        now=now,
    )


def _mend_power(finding: Finding, now: datetime) -> str:
    machine = Machine.objects.get(id=finding.target)
    if Job.objects.filter(machine=machine, status__in=Job.OPEN).exists():
        return ""
    # An unchanged fencing token: nothing was requested since. The running quota follows with the next
    # observation.
    still = Machine.objects.filter(id=machine.id, fence=machine.fence)
    if not still.update(power=finding.value, power_seen_at=now):
        return ""
    lifecycle.tell(machine=machine)
    return f"{machine.name} is now {finding.value.lower()} here, too."


def _mend_fence(finding: Finding, now: datetime) -> str:
    behind = Machine.objects.filter(id=finding.target, fence__lt=int(finding.value))
    if not behind.update(fence=int(finding.value)):
        return ""
    lifecycle.tell(machine=Machine.objects.get(id=finding.target))
    return f"The fence of {finding.machine} is now {finding.value}."


def _mend_host_memory(finding: Finding, now: datetime) -> str:
    host = Host.objects.get(name=finding.target)
    holders = quota_drift.holders()
    held = sum(
        memory_mib
        for machine_id, memory_mib in Machine.objects.filter(host=host).values_list("id", "memory_mib")
        if machine_id in holders
    )
    was = int(finding.value)
    if not inventory.correct_host_memory(host_id=host.id, was_mib=was, is_mib=held, now=now):
        return ""
    return f"{held} MiB of {host.name} are now promised."


def _mend_address(finding: Finding, now: datetime) -> str:
    living = Machine.objects.exclude(state=Machine.State.DELETED).filter(id=finding.target)
    if living.exists():
        return ""
    inventory.release_addresses(holder=UUID(finding.target), now=now)
    return "It is free again."

"""`manage.py verify`: read the database for the comparison, which is in `compare`.

Nothing is written here; `mending` writes what is safe to correct, on request.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.db.models import Q, QuerySet

from webxen.accounts.models import User
from webxen.core.database import one_instant
from webxen.core.errors import NotFoundError
from webxen.core.messages import Message
from webxen.diagnostics import compare, mending, own_findings, quota_drift
from webxen.diagnostics.findings import Finding
from webxen.diagnostics.snapshot import AddressRow, DiskRow, HostLook, JobRow, MachineRow, Picture, ReceiptRow
from webxen.inventory import queries as inventory_queries
from webxen.inventory import restores
from webxen.inventory.models import Address, Host, Image
from webxen.jobs import evidence, observing, timeouts
from webxen.jobs.models import Job
from webxen.machines import foreign_domains
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
        seen = Message(
            "COMPARED",
            hosts=len(looked),
            all_hosts=len(self.picture.hosts),
            machines=living,
            domains=domains,
            volumes=volumes,
        )
        if not self.findings:
            return Message("ALL_AGREE", compared=seen)
        mendable = sum(finding.is_mendable for finding in self.findings)
        return Message("DIFFERENCES_FOUND", compared=seen, n=len(self.findings), fixable=mendable)


def verify(*, host: str | None, fixed_by: User | None, now: datetime) -> Verdict:
    """Compare the database with the hosts. Raises NotFoundError.

    `host`: report only what concerns this host. `fixed_by`: the staff user in whose name safe corrections are
    made; None: no corrections.
    """
    if host is not None and inventory_queries.host_named(name=host) is None:
        raise NotFoundError(Message("HOST_NOT_FOUND", name=host))
    verdict = _look(host, now)
    if fixed_by is None:
        return verdict
    mendable = [finding for finding in verdict.findings if finding.is_mendable]
    mended = [said for finding in mendable if (said := mending.mend(finding, fixed_by, now))]
    after = _look(host, now)
    return Verdict(after.picture, after.findings, tuple(mended))


def look_at_host(*, host: Host, now: datetime) -> Verdict:
    """Compare one host with its rows: as many queries and as long as that host has machines.

    Left out is what takes all hosts to see: machines that run twice, addresses that two use, the quota.
    """
    with one_instant(writes=False):
        picture = _read(now, host)
    return Verdict(picture, tuple(compare.compare(picture)))


def _look(host: str | None, now: datetime) -> Verdict:
    picture = read(now=now)
    findings = compare.compare(picture)
    return Verdict(picture, tuple(f for f in findings if host is None or host in f.hosts))


# --- reading -------------------------------------------------------------------------------------


def read(*, now: datetime) -> Picture:
    """Read everything that is compared, in one consistent snapshot."""
    with one_instant(writes=False):
        return _read(now)


def _read(now: datetime, only: Host | None = None) -> Picture:
    """`only`: this host alone, with the machines and addresses that are on it or that it reports."""
    hosts = list(_hosts()) if only is None else [only]
    observations = {host.id: _observation(host) for host in hosts}
    jobs = _late_jobs(hosts, only)
    moving = {job.machine_id for job in jobs}
    addresses = [] if only else list(Address.objects.select_related("network"))
    machines = _machines(observations.values(), moving | {address.holder for address in addresses}, only)
    ids = {machine.id for machine in machines} if only else None
    holders = quota_drift.holders(among=ids)
    held = {(address.holder, address.ipv4) for address in addresses} | _held(ids)
    restore = restores.open_restore()
    receipts = _receipts(only)
    kept = _kept()
    known = foreign_domains.left_alone_on(hosts)
    on_host = defaultdict(list)
    for machine in machines:
        on_host[machine.host_id].append(machine)
    return Picture(
        hosts=tuple(
            replace(
                _host(host, observations[host.id], on_host[host.id], holders, receipts.get(host.id, {}), now),
                left_alone=known[host.id],
            )
            for host in hosts
        ),
        machines=tuple(
            _machine(machine, held, is_moving=machine.id in moving, kept=frozenset(kept[machine.id]))
            for machine in machines
        ),
        jobs=tuple(_job(job, now) for job in jobs),
        addresses=tuple(
            AddressRow(address.ipv4, address.network.name, str(address.holder)) for address in addresses
        ),
        images=dict(Image.objects.values_list("file", "sha256")),
        held=restore.why if restore else "",
        quota=() if only else tuple(quota_drift.find(machines=machines)),
        own=() if only else tuple(own_findings.find(now=now)),
    )


def _kept() -> dict[UUID, set[str]]:
    """By machine the hosts that keep its disks after they were copied elsewhere."""
    kept = defaultdict(set)
    for move in candidates.kept_moves():
        kept[move.job.machine_id].add(move.source.name)
    return kept


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


def _held(machine_ids: Iterable[UUID] | None) -> set[tuple[UUID, str]]:
    """Addresses that these machines hold."""
    found: set[tuple[UUID, str]] = set()
    for some in _in_pieces(machine_ids or ()):
        found |= set(Address.objects.filter(holder__in=some).values_list("holder", "ipv4"))
    return found


def _in_pieces(ids: Iterable[UUID]) -> Iterator[list[UUID]]:
    """Batches: SQLite limits the number of parameters."""
    waiting = list(ids)
    for start in range(0, len(waiting), 500):
        yield waiting[start : start + 500]


def _late_jobs(hosts: Iterable[Host], only: Host | None) -> list[Job]:
    """Jobs that are open or ended after their host's observation: their machines are not judged."""
    about = Q(host=only) | Q(machine__host=only) if only else Q()
    rows = Job.objects.select_related("machine", "host", "move").order_by()
    found = {job.id: job for job in rows.filter(about, status__in=Job.OPEN)}
    looked = [(host, host.observed_at) for host in hosts if host.observed_at is not None]
    for start in range(0, len(looked), 100):  # SQLite limits the depth of an expression
        late = Q()
        for host, observed_at in looked[start : start + 100]:
            late |= Q(host=host, finished_at__gt=observed_at - observing.SETTLING)
        found |= {job.id: job for job in rows.filter(late)}
    return sorted(found.values(), key=lambda job: job.created_at, reverse=True)


def _machines(
    observations: Iterable[contract.Observation], wanted: set[UUID], only: Host | None
) -> list[Machine]:
    """All machines, or those of one host, and those of which a host still has something."""
    named = set(wanted)
    for said in observations:
        holdings = said.holdings or contract.Holdings()
        named |= _uuids(domain.uuid for domain in said.domains or ())
        named |= _uuids(volume.machine_id for volume in holdings.volumes)
        named |= _uuids(holdings.machines)
    living = Machine.objects.exclude(state=Machine.State.DELETED)
    there = _with_parts(living.filter(host=only) if only else living)
    # in batches: related rows are looked up by the ids of a batch
    rows = {machine.id: machine for machine in there.iterator(chunk_size=500)}
    for some in _in_pieces(named - set(rows)):
        rows |= {m.id: m for m in _with_parts(Machine.objects.filter(id__in=some))}
    return list(rows.values())


def _with_parts(machines: QuerySet[Machine]) -> QuerySet[Machine]:
    whole = machines.select_related("host", "project").defer(*inventory_queries.all_it_says(), "config")
    return whole.prefetch_related("disks", "interfaces__network")


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
    own: list[Machine],
    holders: set[UUID],
    receipts: dict[str, ReceiptRow],
    now: datetime,
) -> HostLook:
    living = [machine for machine in own if machine.state == Machine.State.READY]
    pools = {pool.name for pool in host.pools.all()}
    pools |= {disk.pool for machine in living for disk in machine.disks.all()}
    seconds = 0 if host.observed_at is None else int((now - host.observed_at).total_seconds())
    return HostLook(
        name=host.name,
        seen_seconds_ago=None if host.observed_at is None else seconds,
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


def _receipts(only: Host | None) -> dict[UUID, dict[str, ReceiptRow]]:
    """Receipts that no row explains, by host and machine."""
    found: dict[UUID, dict[str, ReceiptRow]] = defaultdict(dict)
    for seen in restores.receipts():
        if only is not None and seen.host_id != only.id:
            continue
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
    machine: Machine, held: set[tuple[UUID, str]], *, is_moving: bool, kept: frozenset[str]
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
        kept_on=kept,
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

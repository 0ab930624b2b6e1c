"""Query hosts, pools, images, sizes and networks."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db.models import (
    Case,
    Count,
    Exists,
    F,
    FloatField,
    Min,
    OuterRef,
    Q,
    QuerySet,
    Sum,
    Value,
    When,
)
from django.db.models.functions import Cast

from webxen.accounts.models import User
from webxen.core.errors import NotFoundError
from webxen.inventory.models import Host, Image, Network, Pool, Size
from webxen.inventory.placement import HostFigures, MachineFigures
from worker.contract import membership

#: an unsynchronized clock drifts by seconds per day; a synchronized one is off by far less than a second
CLOCK_TOLERANCE_SECONDS = 60


#: columns with reported data: kilobytes that a list of machines or jobs would read once per row
SAID = (
    *("facts", "bridges", "images", "kernels", "domains", "holdings", "portal_keys", "broker_passwords"),
    *("public_key", "other_key", "relay_certificate"),
)


#: reported columns that placement does not use
NOT_PLACED = (
    *("domains", "holdings", "kernels", "portal_keys", "broker_passwords", "public_key", "other_key"),
    "relay_certificate",
)
#: with more hosts than this, a request does not examine each of them
MANY_HOSTS = 50


def all_it_says(path: str = "host", *, but: Collection[str] = ()) -> tuple[str, ...]:
    """Column names for `defer`, where only a host's name and state are needed."""
    return tuple(f"{path}__{name}" for name in SAID if name not in but)


def hosts_visible_to(*, user: User) -> QuerySet[Host]:
    """Hosts are visible to staff only. Removed hosts are in the audit only."""
    if not user.is_staff:
        return Host.objects.none()
    return Host.objects.prefetch_related("pools").exclude(state=Host.State.REMOVED)


#: for order_by: the unreserved share of a host's memory
SHARE_FREE = Case(
    When(memory_mib=0, then=Value(0.0)),
    default=1.0 - Cast("memory_reserved_mib", FloatField()) / Cast("memory_mib", FloatField()),
    output_field=FloatField(),
)


def get_visible_host(*, user: User, id: UUID) -> Host:
    """Return a host. Raises NotFoundError if it is not visible to the user."""
    host = hosts_visible_to(user=user).filter(id=id).first()
    if host is None:
        raise NotFoundError
    return host


def get_visible_host_named(*, user: User, name: str) -> Host:
    """Return the host of this name. Raises NotFoundError if it is not visible to the user."""
    host = hosts_visible_to(user=user).filter(name=name.lower()).first()
    if host is None:
        raise NotFoundError
    return host


def get_visible_host_called(*, user: User, untrusted: str) -> Host:
    """Find a host by its id or its name. Raises NotFoundError."""
    try:
        return get_visible_host(user=user, id=UUID(untrusted))
    except ValueError:
        return get_visible_host_named(user=user, name=untrusted)


def pools_visible_to(*, user: User) -> QuerySet[Pool]:
    """All pools for staff, none for others."""
    return Pool.objects.select_related("host") if user.is_staff else Pool.objects.none()


def images_visible_to(*, user: User) -> QuerySet[Image]:
    """Active images; staff also sees retired ones."""
    return Image.objects.all() if user.is_staff else Image.objects.filter(is_active=True)


def sizes_visible_to(*, user: User) -> QuerySet[Size]:
    return Size.objects.all()


def networks_visible_to(*, user: User) -> QuerySet[Network]:
    return Network.objects.all()


def host_named(*, name: str) -> Host | None:
    """The host of this name in any state, or None; for internal use without a visibility check."""
    return Host.objects.filter(name=name.lower()).first()


def names_of_hosts() -> list[str]:
    """Names of the hosts whose queues are read, including those that wait for acceptance."""
    return list(Host.objects.exclude(state=Host.State.REMOVED).values_list("name", flat=True))


#: states in which hosts receive orders and their reports are trusted
ACCEPTED = (Host.State.ACTIVE, Host.State.DRAINING)


def is_accepted(*, host: Host) -> bool:
    """Whether the host receives orders and its reports on jobs and machines are trusted."""
    return host.state in ACCEPTED


def fingerprint_of(*, host: Host) -> str:
    """The fingerprint that staff compares with the host's own output; empty if the key is not readable."""
    try:
        return membership.fingerprint(host.public_key)
    except membership.NoKey:
        return ""


def accepted_hosts(*, ids: Iterable[UUID] | None = None) -> list[Host]:
    """Accepted hosts with all reported columns. `ids`: only these; None: all."""
    accepted = Host.objects.filter(state__in=ACCEPTED).prefetch_related("pools")
    return list(accepted if ids is None else accepted.filter(id__in=list(ids)))


def states_of_accepted_hosts() -> list[Host]:
    """Accepted hosts without the reported columns, which are loaded on access."""
    return list(Host.objects.filter(state__in=ACCEPTED).defer(*SAID))


def are_many_hosts() -> bool:
    """Whether there are more hosts than a request may examine."""
    return Host.objects.exclude(state=Host.State.REMOVED).order_by()[MANY_HOSTS : MANY_HOSTS + 1].exists()


def count_accepted_hosts() -> int:
    """Return the number of accepted hosts."""
    return Host.objects.filter(state__in=ACCEPTED).count()


def roomy_hosts(*, memory_mib: int, now: datetime, start: int = 0, most: int = MANY_HOSTS) -> list[UUID]:
    """Ids of open hosts with this much unreserved memory, lowest use first: `most` of them, from `start`
    on.
    """
    limit = now - timedelta(seconds=settings.WEBXEN_SILENT_SECONDS)
    needed = F("memory_reserved_mib") + settings.WEBXEN_HOST_RESERVE_MIB + memory_mib
    fitting = Host.objects.filter(state=Host.State.ACTIVE, observed_at__gte=limit, memory_mib__gte=needed)
    order = fitting.order_by(SHARE_FREE.desc(), "name")
    return list(order.values_list("id", flat=True)[start : start + most])


def near_hosts(*, host: Host, most: int, now: datetime) -> list[UUID]:
    """Ids of other accepted hosts, in this order: open ones, those sharing pools with this host, lowest
    use.
    """
    limit = now - timedelta(seconds=settings.WEBXEN_SILENT_SECONDS)
    ids = [pool.shared_id for pool in host.pools.all() if pool.shared_id]
    is_open = Case(When(state=Host.State.ACTIVE, observed_at__gte=limit, then=0), default=1)
    sees = Case(When(Exists(Pool.objects.filter(host=OuterRef("id"), shared_id__in=ids)), then=0), default=1)
    others = Host.objects.filter(state__in=ACCEPTED).exclude(id=host.id)
    order = others.order_by(is_open, sees, SHARE_FREE.desc(), "name")
    return list(order.values_list("id", flat=True)[:most])


def is_silent(*, host: Host, now: datetime) -> bool:
    """Whether nothing was received from the host for WEBXEN_SILENT_SECONDS."""
    limit = timedelta(seconds=settings.WEBXEN_SILENT_SECONDS)
    return host.observed_at is None or now - host.observed_at > limit


def is_any_heard(*, now: datetime) -> bool:
    """Whether at least one accepted host is not silent."""
    limit = now - timedelta(seconds=settings.WEBXEN_SILENT_SECONDS)
    return Host.objects.filter(state__in=ACCEPTED, observed_at__gte=limit).exists()


def heard_for(*, host: Host, since: datetime | None, now: datetime) -> timedelta:
    """How long the host has been reporting without a gap since this moment; zero while it is silent."""
    if since is None or is_silent(host=host, now=now):
        return timedelta(0)
    return max(now - max(since, host.heard_since or since), timedelta(0))


def silent_names(*, user: User, now: datetime) -> list[str]:
    """Names of the accepted hosts that have reported before and are silent now."""
    quiet = hosts_visible_to(user=user).prefetch_related(None).filter(id__in=silent_hosts(now=now))
    return list(quiet.values_list("name", flat=True))


def silent_hosts(*, now: datetime) -> QuerySet[Host]:
    """Accepted hosts that have reported before and are silent now; without a visibility check."""
    limit = now - timedelta(seconds=settings.WEBXEN_SILENT_SECONDS)
    return Host.objects.filter(state__in=ACCEPTED, observed_at__lt=limit).order_by()


@dataclass(frozen=True)
class WrongClock:
    """A host's clock that staff must set."""

    ahead_seconds: int
    #: every order has expired when it arrives
    drops_orders: bool


def wrong_clock_of(*, host: Host, now: datetime) -> WrongClock | None:
    """The fault of the host's clock; None if it is right or not known (a silent host's may have been set)."""
    ahead, life = host.clock_ahead_seconds or 0, settings.WEBXEN_ORDER_TTL_SECONDS
    if ahead < min(CLOCK_TOLERANCE_SECONDS, life) or is_silent(host=host, now=now):
        return None
    return WrongClock(ahead, drops_orders=ahead >= life)


def ids_of_shared_pools() -> frozenset[str]:
    """Ids of pools that at least two hosts report as shared."""
    several = _told_shared().values("shared_id").annotate(hosts=Count("host")).filter(hosts__gt=1)
    return frozenset(several.values_list("shared_id", flat=True))


def _told_shared() -> QuerySet[Pool]:
    told = Pool.objects.filter(is_shared=True).exclude(shared_id="")
    return told.exclude(host__state=Host.State.REMOVED).order_by()


@dataclass(frozen=True)
class Space:
    """One pool's figures in MiB; those of a shared pool cover all its hosts."""

    total_mib: int
    free_mib: int
    promised_mib: int
    #: maximum that may be promised
    limit_mib: int

    @property
    def left_mib(self) -> int:
        """MiB available for a new machine: free now and not promised."""
        return max(min(self.free_mib, self.limit_mib - self.promised_mib), 0)

    @property
    def filled_percent(self) -> int:
        """The percentage in use or promised, whichever is higher."""
        used = (self.total_mib - self.free_mib) / self.total_mib if self.total_mib else 0.0
        promised = self.promised_mib / self.limit_mib if self.limit_mib else float(self.promised_mib > 0)
        return int(100 * max(used, promised, 0.0))

    def within(self, other: "Space") -> "Space":
        """Limit this space to the other's free and promised figures."""
        return Space(
            total_mib=self.total_mib,
            free_mib=min(self.free_mib, other.free_mib),
            promised_mib=other.promised_mib,
            limit_mib=min(self.limit_mib, other.limit_mib),
        )


def spaces(*, pools: Iterable[Pool], now: datetime) -> dict[UUID, Space]:
    """Return the space of these pools by row id, in at most three queries."""
    rows = list(pools)
    told = {row.shared_id for row in rows if row.is_shared}
    shared = _shared(ids_of_shared_pools() & told, now) if told else {}
    found = {}
    for row in rows:
        own = Space(row.total_mib, row.free_mib, row.promised_mib, row.limit_mib)
        others = shared.get(row.shared_id) if row.is_shared else None
        found[row.id] = own if others is None else own.within(others)
    return found


def _shared(ids: Collection[str], now: datetime) -> dict[str, Space]:
    """Space by shared id. Free space comes from hosts that are not silent; promises from all."""
    if not ids:
        return {}
    found: dict[str, Space] = {}
    last = now - timedelta(seconds=settings.WEBXEN_SILENT_SECONDS)
    rows = _told_shared().filter(shared_id__in=ids)
    promised = dict(rows.values_list("shared_id").annotate(Sum("promised_mib")))
    heard = Q(host__observed_at__gte=last)
    columns = ("shared_id", "kind", "total_mib", "free_mib")
    for shared_id, kind, total, free in rows.filter(heard).values_list(*columns).distinct():
        limit = Pool(kind=kind, total_mib=total).limit_mib
        least = found.get(shared_id, Space(total, free, promised[shared_id], limit))
        found[shared_id] = Space(total, free, promised[shared_id], limit).within(least)
    return found


def shared_pools_of(*, host: Host, ids: frozenset[str] | None = None) -> frozenset[str]:
    """Names of the host's pools that other hosts see too."""
    known = ids_of_shared_pools() if ids is None else ids
    return frozenset(pool.name for pool in host.pools.all() if pool.is_shared and pool.shared_id in known)


def hosts_seeing(*, host: Host, pool: str) -> list[Host]:
    """The hosts that see this pool, including this one; only this one if the pool is local."""
    found = Pool.objects.filter(host=host, name=pool).first()
    if found is None:
        return []
    is_shared = found.is_shared and found.shared_id
    others = Q(pools__shared_id=found.shared_id, pools__is_shared=True) if is_shared else Q(id=host.id)
    return list(Host.objects.filter(others).exclude(state=Host.State.REMOVED).distinct())


def shared_pools_by_room() -> list[str]:
    """Names of shared pools of active hosts, the one with most free space first."""
    rows = _told_shared().filter(shared_id__in=ids_of_shared_pools(), host__state=Host.State.ACTIVE)
    least = rows.values("name").annotate(least=Min("free_mib"))
    return list(least.order_by("-least", "name").values_list("name", flat=True))


def figures(
    *,
    now: datetime,
    machines: Mapping[UUID, tuple[MachineFigures, ...]] | None = None,
    host_ids: Iterable[UUID] | None = None,
) -> list[HostFigures]:
    """Return every host as placement sees it. `machines`: its machines by host id, passed in by the caller.

    `host_ids`: only these hosts.
    """
    rows = Host.objects.prefetch_related("pools").exclude(state=Host.State.REMOVED).defer(*NOT_PLACED)
    hosts = list(rows if host_ids is None else rows.filter(id__in=list(host_ids)))
    shared, room = (
        ids_of_shared_pools(),
        spaces(pools=(pool for host in hosts for pool in host.pools.all()), now=now),
    )
    return [
        HostFigures(
            name=host.name,
            is_active=host.state == Host.State.ACTIVE,
            is_draining=host.state == Host.State.DRAINING,
            is_silent=is_silent(host=host, now=now),
            memory_free_mib=host.memory_mib - host.memory_reserved_mib - settings.WEBXEN_HOST_RESERVE_MIB,
            memory_mib=max(host.memory_mib - settings.WEBXEN_HOST_RESERVE_MIB, 0),
            pools={pool.name: room[pool.id].left_mib for pool in host.pools.all()},
            pool_sizes={pool.name: pool.total_mib for pool in host.pools.all()},
            shared_pools=shared_pools_of(host=host, ids=shared),
            bridges=tuple(host.bridges),
            images=dict(host.images),
            cpus=_processors(host),
            vcpu_ratio=settings.WEBXEN_VCPU_RATIO,
            machines=(machines or {}).get(host.id, ()),
        )
        for host in hosts
    ]


def _processors(host: Host) -> int:
    """Number of processors that the hypervisor reports; 0 if not known."""
    said = str(host.facts.get("nr_cpus", ""))
    return int(said) if said.isascii() and said.isdigit() and len(said) < 6 else 0


def processors() -> list[dict[str, str]]:
    """Distinct CPU descriptions of accepted hosts: `machine` and `hw_caps` of `xl info`."""
    told = Host.objects.filter(state__in=ACCEPTED).order_by()
    kinds = told.values_list("facts__machine", "facts__hw_caps").distinct()
    return [{"machine": str(machine or ""), "hw_caps": str(caps or "")} for machine, caps in kinds]


def ids_of_hosts(*, names: Collection[str]) -> list[UUID]:
    """Ids of the hosts with these names; without a visibility check."""
    return list(Host.objects.filter(name__in=list(names)).values_list("id", flat=True))

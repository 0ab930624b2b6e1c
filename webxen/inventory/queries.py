"""Reading hosts, pools, images, sizes and networks. Nothing is written here."""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db.models import Q, QuerySet

from webxen.accounts.models import User
from webxen.core.errors import NotFoundError
from webxen.inventory.models import Host, Image, Network, Pool, Size
from webxen.inventory.placement import HostFigures, MachineFigures
from worker import membership


def hosts_visible_to(*, user: User) -> QuerySet[Host]:
    """Hosts are staff's business. Those taken out are in the audit only."""
    if not user.is_staff:
        return Host.objects.none()
    return Host.objects.prefetch_related("pools").exclude(state=Host.State.REMOVED)


def get_visible_host(*, user: User, id: UUID) -> Host:
    host = hosts_visible_to(user=user).filter(id=id).first()
    if host is None:
        raise NotFoundError
    return host


def get_visible_host_named(*, user: User, name: str) -> Host:
    host = hosts_visible_to(user=user).filter(name=name).first()
    if host is None:
        raise NotFoundError
    return host


def get_visible_host_called(*, user: User, untrusted: str) -> Host:
    """By its id or by its name: scripts have either."""
    try:
        return get_visible_host(user=user, id=UUID(untrusted))
    except ValueError:
        return get_visible_host_named(user=user, name=untrusted)


def pools_visible_to(*, user: User) -> QuerySet[Pool]:
    return Pool.objects.select_related("host") if user.is_staff else Pool.objects.none()


def images_visible_to(*, user: User) -> QuerySet[Image]:
    """Everybody sees the images in use; staff also sees the retired ones."""
    return Image.objects.all() if user.is_staff else Image.objects.filter(is_active=True)


def sizes_visible_to(*, user: User) -> QuerySet[Size]:
    return Size.objects.all()


def networks_visible_to(*, user: User) -> QuerySet[Network]:
    return Network.objects.all()


def host_named(*, name: str) -> Host | None:
    """For the portal itself: whose report is this."""
    return Host.objects.filter(name=name).first()


def is_accepted(*, host: Host) -> bool:
    """May it be given orders, and is what it says of jobs and machines believed?"""
    return host.state in (Host.State.ACTIVE, Host.State.DRAINING)


def fingerprint_of(*, host: Host) -> str:
    """What a person compares with the host's own screen; empty where the key is none we know."""
    try:
        return membership.fingerprint(host.public_key)
    except membership.NoKey:
        return ""


def accepted_hosts() -> list[Host]:
    return list(Host.objects.filter(state__in=(Host.State.ACTIVE, Host.State.DRAINING)))


def is_silent(*, host: Host, now: datetime) -> bool:
    """Nothing was heard of it for longer than a healthy host is quiet."""
    limit = timedelta(seconds=settings.WEBXEN_SILENT_SECONDS)
    return host.observed_at is None or now - host.observed_at > limit


def shared_pools_of(*, host: Host, seen: Counter[str]) -> frozenset[str]:
    """Names of its pools that other hosts see, too: with it their free space is one and the same.

    `seen`: how many hosts tell of each pool's id.
    """
    return frozenset(pool.name for pool in host.pools.all() if pool.shared_id and seen[pool.shared_id] > 1)


def hosts_seeing(*, host: Host, pool: str) -> list[Host]:
    """The hosts, itself among them, that see this pool of the host's; itself alone when it is its own."""
    found = Pool.objects.filter(host=host, name=pool).first()
    if found is None:
        return []
    others = Q(pools__shared_id=found.shared_id) if found.shared_id else Q(id=host.id)
    return list(Host.objects.filter(others).exclude(state=Host.State.REMOVED).distinct())


def shared_pools_by_room() -> list[str]:
    """Names of shared pools that hosts in service have, the roomiest first."""
    rows = Pool.objects.exclude(shared_id="").filter(host__state=Host.State.ACTIVE)
    return list(dict.fromkeys(rows.order_by("-free_mib", "name").values_list("name", flat=True)))


def figures(
    *, now: datetime, machines: Mapping[UUID, tuple[MachineFigures, ...]] | None = None
) -> list[HostFigures]:
    """Every host as placement sees it. `machines`: those on it, by the host's id; this room knows none."""
    hosts = Host.objects.prefetch_related("pools").exclude(state=Host.State.REMOVED)
    seen = Counter(pool.shared_id for host in hosts for pool in host.pools.all())
    return [
        HostFigures(
            name=host.name,
            is_active=host.state == Host.State.ACTIVE,
            is_draining=host.state == Host.State.DRAINING,
            is_silent=is_silent(host=host, now=now),
            memory_free_mib=host.memory_mib - host.memory_reserved_mib - settings.WEBXEN_HOST_RESERVE_MIB,
            memory_mib=max(host.memory_mib - settings.WEBXEN_HOST_RESERVE_MIB, 0),
            pools={pool.name: pool.free_mib for pool in host.pools.all()},
            pool_sizes={pool.name: pool.total_mib for pool in host.pools.all()},
            shared_pools=shared_pools_of(host=host, seen=seen),
            bridges=tuple(host.bridges),
            images=dict(host.images),
            cpus=_processors(host),
            vcpu_ratio=settings.WEBXEN_VCPU_RATIO,
            machines=(machines or {}).get(host.id, ()),
        )
        for host in hosts
    ]


def _processors(host: Host) -> int:
    """As its hypervisor counts them; 0 while it has not said."""
    said = str(host.facts.get("nr_cpus", ""))
    return int(said) if said.isascii() and said.isdigit() and len(said) < 6 else 0

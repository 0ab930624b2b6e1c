"""Write hosts: state, observations, reserved memory, allocated addresses."""

import dataclasses
import ipaddress
import logging
import secrets
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Case, DateTimeField, F, Q, Value, When
from django.db.models.functions import Greatest

from webxen.accounts.models import User
from webxen.core import audit, events
from webxen.core.errors import NotFoundError, UserError
from webxen.core.messages import Message
from webxen.inventory import observed, restores
from webxen.inventory.models import Address, Host, Network, Pool
from worker import contract

log = logging.getLogger(__name__)

#: two requests may choose the same free address; the constraint makes one of them choose again
ADDRESS_ATTEMPTS = 20
MAX_SECONDS = 2**31 - 1
MAX_VERSION = 2**15 - 1
#: the columns that a host reports of a pool
POOL_WORDS = ("kind", "total_mib", "free_mib", "shared_id", "is_shared")


class NoAddressError(UserError):
    """The network has no free address."""

    code = "NO_ADDRESS"


class AddressHeldError(UserError):
    """Another machine has the address or MAC."""

    code = "ADDRESS_HELD"


# --- hosts -------------------------------------------------------------------------------------


@transaction.atomic
def accept_host(*, name: str, public_key: str, now: datetime) -> Host:
    """Register a host and trust this key, or replace the key of a registered one. Idempotent."""
    host, is_new = Host.objects.get_or_create(
        name=name, defaults={"public_key": public_key, "created_at": now}
    )
    is_believed = host.state not in (Host.State.NEW, Host.State.REMOVED)
    if is_new or not is_believed or not _knows(host, public_key):
        host.public_key = public_key
        host.state = host.state if is_believed else Host.State.ACTIVE
        host.save(update_fields=["public_key", "state"])
        audit.record(
            actor=None,
            action="ACCEPT_HOST",
            target_kind="host",
            target_id=str(host.id),
            target_name=name,
            detail="" if is_new else Message("WITH_NEW_KEY"),
            now=now,
        )
        events.publish(kind="host", id=str(host.id))
    return host


def _knows(host: Host, public_key: str) -> bool:
    return public_key.strip() in (host.public_key.strip(), host.other_key.strip())


def drain_host(*, staff: User, host_id: UUID, now: datetime) -> Host:
    """Place no new machines on this host; existing ones stay. Raises NotFoundError."""
    return _set_state(staff, host_id, Host.State.DRAINING, "DRAIN_HOST", now)


def activate_host(*, staff: User, host_id: UUID, now: datetime) -> Host:
    """Place new machines on this host again. Raises NotFoundError."""
    return _set_state(staff, host_id, Host.State.ACTIVE, "ACTIVATE_HOST", now)


@transaction.atomic
def _set_state(staff: User, host_id: UUID, state: str, action: str, now: datetime) -> Host:
    if not staff.is_staff:
        raise NotFoundError
    # a host that waits for acceptance is accepted with its fingerprint (joining) and in no other way
    accepted = Host.objects.filter(id=host_id, state__in=(Host.State.ACTIVE, Host.State.DRAINING))
    if not accepted.update(state=state):
        raise NotFoundError
    host = Host.objects.get(id=host_id)
    audit.record(
        actor=staff,
        action=action,
        target_kind="host",
        target_id=str(host.id),
        target_name=host.name,
        now=now,
    )
    events.publish(kind="host", id=str(host.id))
    return host


def take_observation(*, host: Host, observation: contract.Observation, now: datetime) -> bool:
    """Return whether this is newer than every observation trusted so far; True only once per observation.

    An observation is valid for a day, so whoever can write to the queue could replay an old one and make the
    portal act on outdated states.
    """
    serial = observation.serial
    if serial == 0:
        return not Host.objects.filter(id=host.id, observation_serial__gt=0).exists()
    # the UPDATE is the claim: it also locks the row until the observation is stored
    older = Host.objects.filter(id=host.id, observation_serial__lt=serial)
    return 0 < serial < 2**63 and bool(older.update(observation_serial=serial))


@transaction.atomic
def record_observation(
    *, host: Host, observation: contract.Observation, ours: Collection[str], now: datetime
) -> None:
    """Store what the host reports about itself. `ours`: uuids of the portal's machines on it.

    Memory for machines is what Xen reports as free plus what the portal's running machines have. The memory
    of dom0 and of other domains is excluded.
    """
    fitted = observed.fit(observation, relay_networks=settings.WEBXEN_RELAY_NETWORKS)
    observation, seen = fitted.observation, fitted.observation.domains
    Host.objects.filter(id=host.id).update(
        portal_keys=list(observation.portal_keys),
        facts=observation.facts,
        bridges=list(observation.bridges),
        images=observation.images,
        domains=None if seen is None else [dataclasses.asdict(domain) for domain in seen],
        holdings=None if observation.holdings is None else _holdings(observation.holdings),
        addresses=_unexplained(observation.holdings),
        worker_version=observation.worker_version,
        relay_certificate=observation.relay_certificate,
        relay_address=observation.relay_address,
        kernels=None if observation.kernels is None else list(observation.kernels),
        clock_ahead_seconds=_clock_ahead(observation, now),
        other_protocol=None,
        heard_since=_heard_since(now),
        left_out=fitted.left_out,
        observed_at=now,
    )
    room = _memory_for_machines(observation, ours)
    if room is not None:
        # never below what is reserved: a host that shrank gets no new machines and existing reservations stay
        Host.objects.filter(id=host.id).update(
            memory_mib=Greatest(Value(room), F("memory_reserved_mib")),
        )
    _record_pools(host, observation.pools)
    events.publish(kind="host", id=str(host.id))


def _holdings(said: contract.Holdings) -> dict[str, Any]:
    """As JSON, without receipts and addresses, which are stored elsewhere."""
    return dataclasses.asdict(dataclasses.replace(said, receipts=(), addresses=()))


def _unexplained(said: contract.Holdings | None) -> list[dict[str, str]]:
    """Addresses in use on the host that no row allocates to the same machine."""
    shown = () if said is None else said.addresses
    if not shown:
        return []
    held = {
        (str(holder), ipv4)
        for holder, ipv4 in Address.objects.filter(ipv4__in=_ipv4s(shown)).values_list("holder", "ipv4")
    }
    return [dataclasses.asdict(seen) for seen in shown if (seen.machine_id, seen.ipv4) not in held]


def _ipv4s(shown: Iterable[contract.AddressSeen]) -> list[str]:
    found = set()
    for seen in shown:
        try:
            found.add(str(ipaddress.IPv4Address(seen.ipv4)))
        except ValueError:
            continue  # a configuration written by hand may contain anything
    return sorted(found)


def forget_domain(*, host_id: UUID, machine_id: UUID, now: datetime) -> None:
    """Remove the machine's domain from the host's last observation: the host has reported since that it is
    gone.
    """
    with transaction.atomic():
        host = Host.objects.select_for_update().get(id=host_id)
        if host.domains is not None:
            left = [seen for seen in host.domains if seen.get("uuid") != str(machine_id)]
            Host.objects.filter(id=host_id).update(domains=left)


def note_other_version(*, name: str, version: int, now: datetime) -> None:
    """Record that the host uses another protocol version. Its next understood message clears this."""
    host = Host.objects.exclude(state=Host.State.REMOVED).filter(name=name).first()
    version = min(max(version, 0), MAX_VERSION)
    if host is not None and host.other_protocol != version:
        Host.objects.filter(id=host.id).update(other_protocol=version)
        events.publish(kind="host", id=str(host.id))


def record_first_words(*, host: Host, observation: contract.Observation, now: datetime) -> None:
    """Store the observation of a host that is not accepted yet; staff sees it, nothing else uses it."""
    fitted = observed.fit(observation)
    observation = fitted.observation
    Host.objects.filter(id=host.id, state=Host.State.NEW).update(
        facts=observation.facts,
        worker_version=observation.worker_version,
        left_out=fitted.left_out,
        clock_ahead_seconds=_clock_ahead(observation, now),
        other_protocol=None,
        # before acceptance it reports nothing about jobs: their waiting time starts after it
        heard_since=now,
        observed_at=now,
        portal_keys=list(observation.portal_keys),
    )
    events.publish(kind="host", id=str(host.id))


def _heard_since(now: datetime) -> Case:
    """`now` if this is the first message after a silence; otherwise the present value."""
    last = now - timedelta(seconds=settings.WEBXEN_SILENT_SECONDS)
    is_first = Q(observed_at=None) | Q(observed_at__lt=last) | Q(heard_since=None) | Q(heard_since__gt=now)
    return Case(When(is_first, then=Value(now, DateTimeField())), default=F("heard_since"))


def _clock_ahead(observation: contract.Observation, now: datetime) -> int | None:
    """Seconds by which the host's clock is at least ahead of the portal's; None if not reported.

    A message that waited in the broker makes the host's clock look behind, never ahead: a time in the future
    means that one of the two clocks is wrong. A clock that is behind is not recorded, because it may only be
    a delay and does no harm.
    """
    return None if observation.at <= 0 else min(max(observation.at - int(now.timestamp()), 0), MAX_SECONDS)


def _memory_for_machines(observation: contract.Observation, ours: Collection[str]) -> int | None:
    free = observation.facts.get("free_memory", "")
    if observation.domains is None or not free.isascii() or not free.isdigit() or len(free) > 9:
        return None
    held = sum(max(domain.memory_mib, 0) for domain in observation.domains if domain.uuid in ours)
    return min(int(free) + held, observed.MAX_MIB)


def _record_pools(host: Host, pools: tuple[contract.PoolSeen, ...]) -> None:
    """Write only changed rows of this host's pools, in one statement; rows of other hosts are not touched."""
    known = {pool.name: pool for pool in Pool.objects.filter(host=host)}
    told = [
        Pool(
            host=host,
            name=pool.name,
            kind=pool.kind,
            total_mib=pool.total_mib,
            free_mib=pool.free_mib,
            shared_id=pool.id,
            is_shared=pool.is_shared and pool.id != "",
        )
        for pool in pools
    ]
    changed = [pool for pool in told if pool.name not in known or _said(pool) != _said(known[pool.name])]
    if changed:
        # in the order in which rows of pools are locked everywhere (inventory.space)
        changed.sort(key=lambda pool: known.get(pool.name, pool).id)
        Pool.objects.bulk_create(
            changed, update_conflicts=True, unique_fields=("host", "name"), update_fields=POOL_WORDS
        )
    if gone := known.keys() - {pool.name for pool in told}:
        Pool.objects.filter(host=host, name__in=gone).delete()


def _said(pool: Pool) -> tuple[object, ...]:
    return tuple(getattr(pool, word) for word in POOL_WORDS)


def reserve_host_memory(*, host_id: UUID, memory_mib: int, now: datetime) -> bool:
    """Reserve memory of a host for a machine; return False if it has less than that left."""
    needed = F("memory_reserved_mib") + memory_mib + settings.WEBXEN_HOST_RESERVE_MIB
    return bool(
        Host.objects.filter(id=host_id, memory_mib__gte=needed).update(
            memory_reserved_mib=F("memory_reserved_mib") + memory_mib
        )
    )


def hold_host_memory(*, host_id: UUID, memory_mib: int, now: datetime) -> None:
    """Reserve memory for a machine that is already on the host, even beyond the host's memory."""
    needed = F("memory_reserved_mib") + memory_mib
    Host.objects.filter(id=host_id).update(
        memory_reserved_mib=needed, memory_mib=Greatest(F("memory_mib"), needed)
    )


def release_host_memory(*, host_id: UUID, memory_mib: int, now: datetime) -> None:
    """Return memory taken by `reserve_host_memory`. Not idempotent: call once per reservation."""
    Host.objects.filter(id=host_id).update(memory_reserved_mib=F("memory_reserved_mib") - memory_mib)


def correct_host_memory(*, host_id: UUID, was_mib: int, is_mib: int, now: datetime) -> bool:
    """Set the reserved memory from `was_mib` to `is_mib`; return False if it has changed meanwhile."""
    return bool(
        Host.objects.filter(id=host_id, memory_reserved_mib=was_mib).update(memory_reserved_mib=is_mib)
    )


# --- addresses ---------------------------------------------------------------------------------


def __new_mac() -> str:
    """A random MAC address with Xen's prefix."""
    return "00:16:3e:" + ":".join(f"{byte:02x}" for byte in secrets.token_bytes(3))


def give_address(*, network: Network, holder: UUID, now: datetime) -> Address:
    """Allocate the lowest free address of the network's range and an unused MAC.

    Raises NoAddressError, RestoredError.
    """
    restores.refuse_while_held()
    for _ in range(ADDRESS_ATTEMPTS):
        ipv4 = _lowest_free(network)
        try:
            with transaction.atomic():
                return Address.objects.create(network=network, ipv4=ipv4, mac=__new_mac(), holder=holder)
        except IntegrityError:
            log.info("address %s was taken by another request, picking again", ipv4)
    raise NoAddressError(Message("NETWORK_BUSY", name=network.name))


def _lowest_free(network: Network) -> str:
    taken = set(Address.objects.filter(network=network).values_list("ipv4", flat=True))
    shown = _shown_in_use(network)
    taken |= set(shown)
    first, last = ipaddress.IPv4Address(network.first), ipaddress.IPv4Address(network.last)
    for number in range(int(first), int(last) + 1):
        ipv4 = str(ipaddress.IPv4Address(number))
        if ipv4 not in taken and ipv4 not in (network.gateway, network.nameserver):
            return ipv4
    if shown:
        names = ", ".join(sorted(set(shown.values())))
        raise NoAddressError(
            Message("NETWORK_FULL_OF_STRANGERS", name=network.name, n=len(shown), hosts=names)
        )
    raise NoAddressError(Message("NETWORK_FULL", name=network.name))


def _shown_in_use(network: Network) -> dict[str, str]:
    """Addresses of this network in use on hosts without an Address row, each with the host's name."""
    inside = ipaddress.IPv4Network(network.cidr, strict=False)
    found = {}
    for name, shown in Host.objects.exclude(state=Host.State.REMOVED).values_list("name", "addresses"):
        for seen in shown:
            try:
                address = ipaddress.IPv4Address(seen["ipv4"])
            except ValueError:
                continue
            if address in inside and seen["bridge"] in ("", network.bridge):
                found[str(address)] = name
    return found


def hold_address(*, network: Network, ipv4: str, mac: str, holder: UUID, now: datetime) -> Address:
    """Record an address that a machine already has. Raises AddressHeldError."""
    try:
        with transaction.atomic():
            return Address.objects.create(network=network, ipv4=ipv4, mac=mac, holder=holder)
    except IntegrityError:
        raise AddressHeldError(Message("ADDRESS_HELD", address=ipv4, network=network.name, mac=mac)) from None


def release_addresses(*, holder: UUID, now: datetime) -> None:
    """Release all addresses of a machine."""
    Address.objects.filter(holder=holder).delete()

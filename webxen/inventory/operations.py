"""Writing the inventory: what hosts say of themselves, their memory, the addresses given out."""

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
from webxen.inventory import observed, restores
from webxen.inventory.models import Address, Host, Network, Pool
from worker import contract

log = logging.getLogger(__name__)

#: two requests may pick the same free address; the constraint tells one of them to pick again
ADDRESS_ATTEMPTS = 20
MAX_SECONDS = 2**31 - 1
MAX_VERSION = 2**15 - 1
#: what a host says of a pool
POOL_WORDS = ("kind", "total_mib", "free_mib", "shared_id", "is_shared")


class NoAddressError(UserError):
    """The network's range is used up."""

    code = "NO_ADDRESS"


class AddressHeldError(UserError):
    """Another machine holds the address."""

    code = "ADDRESS_HELD"


# --- hosts -------------------------------------------------------------------------------------


@transaction.atomic
def accept_host(*, name: str, public_key: str, now: datetime) -> Host:
    """Make a host known: from now on what it signs with this key is believed. Twice is harmless."""
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
            detail="" if is_new else "with a new key",
            now=now,
        )
        events.publish(kind="host", id=str(host.id))
    return host


def _knows(host: Host, public_key: str) -> bool:
    return public_key.strip() in (host.public_key.strip(), host.other_key.strip())


def drain_host(*, staff: User, host_id: UUID, now: datetime) -> Host:
    """Let no new machines onto this host; those it has stay."""
    return _set_state(staff, host_id, Host.State.DRAINING, "DRAIN_HOST", now)


def activate_host(*, staff: User, host_id: UUID, now: datetime) -> Host:
    return _set_state(staff, host_id, Host.State.ACTIVE, "ACTIVATE_HOST", now)


@transaction.atomic
def _set_state(staff: User, host_id: UUID, state: str, action: str, now: datetime) -> Host:
    if not staff.is_staff:
        raise NotFoundError
    # a host that waits to be accepted is accepted with its fingerprint (joining) and in no other way
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
    """Is this newer than all we have believed of this host? Asked twice of one, the second time it is not.

    An observation lives for a day in its envelope, so whoever can write to the queue could send an old one
    again and have machines shown, and settled, as they were then.
    """
    serial = observation.serial
    if serial == 0:
        return not Host.objects.filter(id=host.id, observation_serial__gt=0).exists()
    # the UPDATE is the claim: it also holds the row until the observation is written down
    older = Host.objects.filter(id=host.id, observation_serial__lt=serial)
    return 0 < serial < 2**63 and bool(older.update(observation_serial=serial))


@transaction.atomic
def record_observation(
    *, host: Host, observation: contract.Observation, ours: Collection[str], now: datetime
) -> None:
    """Keep what the host says of itself. `ours`: uuids of the machines we have on it.

    Memory for machines is what Xen has free now plus what our running machines hold: dom0 and
    domains that are not ours are no room of ours.
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
        # never below what is promised: a host that shrank takes nothing new, and the promise is kept
        Host.objects.filter(id=host.id).update(
            memory_mib=Greatest(Value(room), F("memory_reserved_mib")),
        )
    _record_pools(host, observation.pools)
    events.publish(kind="host", id=str(host.id))


def _holdings(said: contract.Holdings) -> dict[str, Any]:
    """As JSON; receipts and addresses are judged at once and kept elsewhere."""
    return dataclasses.asdict(dataclasses.replace(said, receipts=(), addresses=()))


def _unexplained(said: contract.Holdings | None) -> list[dict[str, str]]:
    """Addresses the host shows in use and no row gives to the same machine."""
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
            continue  # a configuration made by hand may hold anything
    return sorted(found)


def forget_domain(*, host_id: UUID, machine_id: UUID, now: datetime) -> None:
    """The host has said since its last observation that it has no domain of this machine any more."""
    with transaction.atomic():
        host = Host.objects.select_for_update().get(id=host_id)
        if host.domains is not None:
            left = [seen for seen in host.domains if seen.get("uuid") != str(machine_id)]
            Host.objects.filter(id=host_id).update(domains=left)


def note_other_version(*, name: str, version: int, now: datetime) -> None:
    """It speaks this version of the protocol, not ours. Its next word that is understood takes this back."""
    host = Host.objects.exclude(state=Host.State.REMOVED).filter(name=name).first()
    version = min(max(version, 0), MAX_VERSION)
    if host is not None and host.other_protocol != version:
        Host.objects.filter(id=host.id).update(other_protocol=version)
        events.publish(kind="host", id=str(host.id))


def record_first_words(*, host: Host, observation: contract.Observation, now: datetime) -> None:
    """What a host says that is not accepted yet: shown to staff, and nothing is built on it."""
    fitted = observed.fit(observation)
    observation = fitted.observation
    Host.objects.filter(id=host.id, state=Host.State.NEW).update(
        facts=observation.facts,
        worker_version=observation.worker_version,
        left_out=fitted.left_out,
        clock_ahead_seconds=_clock_ahead(observation, now),
        other_protocol=None,
        # as long as it is not accepted it says nothing of its jobs: their time counts from after that
        heard_since=now,
        observed_at=now,
        portal_keys=list(observation.portal_keys),
    )
    events.publish(kind="host", id=str(host.id))


def _heard_since(now: datetime) -> Case:
    """Now, if this is the first word after a silence; otherwise as it was."""
    last = now - timedelta(seconds=settings.WEBXEN_SILENT_SECONDS)
    is_first = Q(observed_at=None) | Q(observed_at__lt=last) | Q(heard_since=None) | Q(heard_since__gt=now)
    return Case(When(is_first, then=Value(now, DateTimeField())), default=F("heard_since"))


def _clock_ahead(observation: contract.Observation, now: datetime) -> int | None:
    """Seconds by which the host's clock is ahead of ours, at the least.

    A word that waited in the broker was said earlier than it is heard, so its host looks further behind than
    it is. Ahead it never looks when it is not: who says a time that is still to come has a wrong clock, or we
    have. Of "behind" nothing is kept: it may be nothing but a queue, and it does no harm.
    """
    return None if observation.at <= 0 else min(max(observation.at - int(now.timestamp()), 0), MAX_SECONDS)


def _memory_for_machines(observation: contract.Observation, ours: Collection[str]) -> int | None:
    free = observation.facts.get("free_memory", "")
    if observation.domains is None or not free.isascii() or not free.isdigit() or len(free) > 9:
        return None
    held = sum(max(domain.memory_mib, 0) for domain in observation.domains if domain.uuid in ours)
    return min(int(free) + held, observed.MAX_MIB)


def _record_pools(host: Host, pools: tuple[contract.PoolSeen, ...]) -> None:
    """Write what has changed of the host's own rows, at once. Another host's word stands in its own rows."""
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
    """Promise memory of a host to a machine; False: it has not that much left."""
    needed = F("memory_reserved_mib") + memory_mib + settings.WEBXEN_HOST_RESERVE_MIB
    return bool(
        Host.objects.filter(id=host_id, memory_mib__gte=needed).update(
            memory_reserved_mib=F("memory_reserved_mib") + memory_mib
        )
    )


def hold_host_memory(*, host_id: UUID, memory_mib: int, now: datetime) -> None:
    """Promise memory to a machine that is on the host already, whether or not there is that much."""
    needed = F("memory_reserved_mib") + memory_mib
    Host.objects.filter(id=host_id).update(
        memory_reserved_mib=needed, memory_mib=Greatest(F("memory_mib"), needed)
    )


def release_host_memory(*, host_id: UUID, memory_mib: int, now: datetime) -> None:
    """Give back what `reserve_host_memory` took. The caller sees to it that this happens once."""
    Host.objects.filter(id=host_id).update(memory_reserved_mib=F("memory_reserved_mib") - memory_mib)


def correct_host_memory(*, host_id: UUID, was_mib: int, is_mib: int, now: datetime) -> bool:
    """Set what is promised to what it should be; False: it is no longer what was seen."""
    return bool(
        Host.objects.filter(id=host_id, memory_reserved_mib=was_mib).update(memory_reserved_mib=is_mib)
    )


# --- addresses ---------------------------------------------------------------------------------


def __new_mac() -> str:
    """A random address below Xen's own prefix."""
    return "00:16:3e:" + ":".join(f"{byte:02x}" for byte in secrets.token_bytes(3))


def give_address(*, network: Network, holder: UUID, now: datetime) -> Address:
    """Claim the lowest free address of the network's range, with a MAC nobody else has.

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
    raise NoAddressError(f"Network {network.name} is busy giving out addresses. Try again in a moment.")


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
            f"Network {network.name} has no free address; {len(shown)} are in use on {names} by machines that"
            " are not the portal's. Take another network or ask staff."
        )
    raise NoAddressError(
        f"Network {network.name} has no free address. Delete a machine or take another network."
    )


def _shown_in_use(network: Network) -> dict[str, str]:
    """Addresses of this network that hosts show in use although no row gives them out, with the host."""
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
    """Write down an address that a machine has already. Raises AddressHeldError."""
    try:
        with transaction.atomic():
            return Address.objects.create(network=network, ipv4=ipv4, mac=mac, holder=holder)
    except IntegrityError:
        raise AddressHeldError(
            f"{ipv4} of network {network.name}, or the card {mac}, is held by another machine. Delete that"
            " one first."
        ) from None


def release_addresses(*, holder: UUID, now: datetime) -> None:
    Address.objects.filter(holder=holder).delete()

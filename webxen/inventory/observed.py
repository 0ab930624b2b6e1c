"""Bound what a host reports about itself in size and number before it is stored. Pure.

A host is trusted only with its own machines. Items that cannot be stored are dropped and counted, and staff
is informed; names of pools and files are never altered, because an altered one could be that of another
object.
"""

import dataclasses
import ipaddress
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from webxen.core.texts import clean, clean_line, is_clean_line
from worker import contract

#: maximum number of items kept; Xen 4.20 prints 36 lines of facts, Linux allows 15 characters for a bridge
MOST = {
    "facts": 256,
    "pools": 64,
    "bridges": 64,
    "images": 1024,
    "kernels": 1024,
    "domains": 4096,
    "machines": 4096,
    "volumes": 4096,
    "fences": 4096,
    "jobs": 1024,
    "addresses": 4096,
    "receipts": 4096,
    "portal_keys": 16,
}
MAX_POOL, MAX_BRIDGE, MAX_FILE, MAX_WORD = 64, 15, 255, 120
MAX_FACT = 4096
#: columns are 32 bits wide; larger values are capped
MAX_MIB = 2**31 - 1
#: an exbibyte
MAX_POOL_MIB = 2**40
MAX_NUMBER = 2**31 - 1
MAX_FENCE = 2**62
MAX_CPU_SECONDS = 1e12
#: characters of PEM; an Ed25519 certificate has fewer than a thousand
MAX_CERTIFICATE = 4096


T = TypeVar("T")
#: in the form of the setting: "10.0.0.0/8"
Networks = Sequence[str]


@dataclass(frozen=True)
class Fitted:
    """An observation within the limits."""

    observation: contract.Observation
    #: part of the observation → number of items dropped; empty: none
    left_out: dict[str, int]


def fit(observation: contract.Observation, *, relay_networks: Networks = ()) -> Fitted:
    """Bound and clean an observation. `relay_networks`: networks relays may be in; empty: see `is_relay`."""
    out = _LeftOut()
    domains = None
    if observation.domains is not None:
        domains = tuple(_domain(one) for one in out.most("domains", observation.domains))
    relay_address = observation.relay_address
    if relay_address and not is_relay(relay_address, relay_networks):
        relay_address = out.drop("relay", "")
    kept = dataclasses.replace(
        observation,
        facts=_facts(observation.facts, out),
        pools=_pools(observation.pools, out),
        bridges=out.names("bridges", observation.bridges, MAX_BRIDGE),
        domains=domains,
        images={
            name: clean_line(observation.images[name], MAX_WORD)
            for name in out.names("images", observation.images, MAX_FILE)
        },
        worker_version=clean_line(observation.worker_version, 40),
        machine_ids=out.names("machines", observation.machine_ids, MAX_WORD),
        holdings=None if observation.holdings is None else _holdings(observation.holdings, out),
        portal_keys=out.names("portal_keys", observation.portal_keys, MAX_WORD),
        relay_certificate=clean(observation.relay_certificate, MAX_CERTIFICATE),
        relay_address=relay_address,
        kernels=None if observation.kernels is None else out.names("kernels", observation.kernels, MAX_FILE),
    )
    return Fitted(kept, out.counts())


def is_relay(untrusted: str, networks: Networks = ()) -> bool:
    """Whether another host may be told to connect to this address.

    With `networks`, it must be in one of them. Without, any unicast address that is not loopback or
    link-local is accepted.
    """
    try:
        address = ipaddress.ip_address(untrusted)
    except ValueError:
        return False
    if networks:
        return any(address in ipaddress.ip_network(network) for network in networks)
    mapped = getattr(address, "ipv4_mapped", None) or address
    return not (
        mapped.is_loopback
        or mapped.is_multicast
        or mapped.is_link_local
        or mapped.is_unspecified
        or mapped.is_reserved
        or getattr(address, "scope_id", None)
    )


class _LeftOut:
    """Selects items within the limits and counts the dropped ones."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def counts(self) -> dict[str, int]:
        return {what: count for what, count in sorted(self._counts.items()) if count}

    def drop(self, what: str, instead: T) -> T:
        self._counts[what] += 1
        return instead

    def most(self, what: str, items: Sequence[T]) -> Sequence[T]:
        """Return the first MOST[what] items."""
        self._counts[what] += max(0, len(items) - MOST[what])
        return items[: MOST[what]]

    def names(self, what: str, untrusted: Iterable[str], longest: int) -> tuple[str, ...]:
        """Return the distinct names that can be stored unchanged."""
        every = list(untrusted)
        fine = dict.fromkeys(name for name in every if is_clean_line(name, longest))
        kept = tuple(fine)[: MOST[what]]
        self._counts[what] += len(every) - len(kept)
        return kept


def _facts(facts: dict[str, str], out: _LeftOut) -> dict[str, str]:
    return {name: clean_line(facts[name], MAX_FACT) for name in out.names("facts", facts, MAX_WORD)}


def _pools(pools: Sequence[contract.PoolSeen], out: _LeftOut) -> tuple[contract.PoolSeen, ...]:
    first = {pool.name: pool for pool in reversed(pools)}
    return tuple(_pool(first[name]) for name in out.names("pools", [pool.name for pool in pools], MAX_POOL))


def _pool(pool: contract.PoolSeen) -> contract.PoolSeen:
    total = _bounded(pool.total_mib, MAX_POOL_MIB)
    return dataclasses.replace(
        pool,
        total_mib=total,
        free_mib=min(_bounded(pool.free_mib, MAX_POOL_MIB), total),
        # truncated, it could equal another pool's id
        id=pool.id if is_clean_line(pool.id, 80) else "",
    )


def _domain(domain: contract.DomainSeen) -> contract.DomainSeen:
    return dataclasses.replace(
        domain,
        domain=clean_line(domain.domain, MAX_WORD),
        uuid=domain.uuid if contract.UUID.fullmatch(domain.uuid) else "",
        domid=_bounded(domain.domid, MAX_NUMBER),
        memory_mib=_bounded(domain.memory_mib, MAX_MIB),
        vcpus=_bounded(domain.vcpus, MAX_NUMBER),
        cpu_seconds=min(max(domain.cpu_seconds, 0.0), MAX_CPU_SECONDS)
        if math.isfinite(domain.cpu_seconds)
        else 0.0,
    )


def _holdings(holdings: contract.Holdings, out: _LeftOut) -> contract.Holdings:
    kept = dataclasses.replace(
        holdings,
        volumes=tuple(_volume(one) for one in out.most("volumes", holdings.volumes)),
        pools=out.names("pools", holdings.pools, MAX_POOL),
        machines=tuple(clean_line(one, MAX_WORD) for one in out.most("machines", holdings.machines)),
        fences=tuple(
            contract.FenceSeen(clean_line(one.machine_id, MAX_WORD), _bounded(one.fence, MAX_FENCE))
            for one in out.most("fences", holdings.fences)
        ),
        jobs=tuple(
            contract.JobSeen(clean_line(one.job_id, MAX_WORD), clean_line(one.machine_id, MAX_WORD))
            for one in out.most("jobs", holdings.jobs)
        ),
        addresses=tuple(_address(one) for one in out.most("addresses", holdings.addresses)),
        receipts=tuple(out.most("receipts", holdings.receipts)),
    )
    # an item that is not listed may still exist
    is_cut = any(
        len(getattr(kept, part)) < len(getattr(holdings, part))
        for part in ("volumes", "fences", "machines", "jobs")
    )
    return dataclasses.replace(kept, is_cut=kept.is_cut or is_cut)


def _address(seen: contract.AddressSeen) -> contract.AddressSeen:
    words = dataclasses.asdict(seen).items()
    return dataclasses.replace(
        seen, **{name: clean_line(word, MAX_WORD) for name, word in words if isinstance(word, str)}
    )


def _volume(volume: contract.VolumeSeen) -> contract.VolumeSeen:
    return dataclasses.replace(
        volume,
        machine_id=clean_line(volume.machine_id, MAX_WORD),
        disk_id=clean_line(volume.disk_id, MAX_WORD),
        pool=clean_line(volume.pool, MAX_POOL),
        size_mib=_bounded(volume.size_mib, MAX_POOL_MIB),
    )


def _bounded(number: int, most: int) -> int:
    return min(max(number, 0), most)

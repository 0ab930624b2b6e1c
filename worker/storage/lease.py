"""The lease of a machine's disks in a shared pool: a record of the host that may open them.

The record, its encoding, and the rule of who may take it; all pure. Records are stored by `lease_store`, and
written by `worker.guest.leases`.
"""

import dataclasses
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from worker.errors import LeaseUnreadable

#: what a disk writes atomically, even one with 512-byte sectors; the rest of a slot is zeros
RECORD_BYTES = 512
SLOT_BYTES = 4096


@dataclass(frozen=True)
class Lease:
    machine_id: str
    #: the host that may run the machine from these disks
    owner: str
    #: fencing number of the order that wrote this; an order with a lower one is too late
    fence: int
    #: the host that may take it over, in a migration in progress
    heir: str = ""
    #: the owner released it: any host may take it
    is_released: bool = False
    #: Unix time by the writer's clock; shown to people, and not used in decisions
    at: int = 0


def why_not(lease: Lease | None, *, host: str, fence: int, takes_over_from: str = "") -> str:
    """Why `host` may not take the lease with an order of this fencing number; "" if it may.

    `takes_over_from` is the host that staff has proven to be off; its lease may be broken.
    """
    if lease is None:
        return ""
    if fence < lease.fence:
        return f"the order has fence {fence}, and fence {lease.fence} was here before ({describe(lease)})"
    if lease.owner == host or lease.is_released or lease.heir == host:
        return ""
    if takes_over_from and takes_over_from == lease.owner and fence > lease.fence:
        return ""
    return describe(lease)


def describe(lease: Lease) -> str:
    """The lease as text for people."""
    when = datetime.fromtimestamp(lease.at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    ending = ", released" if lease.is_released else f", offered to {lease.heir}" if lease.heir else ""
    return f"{lease.owner} holds them with fence {lease.fence} since {when}{ending}"


def to_bytes(lease: Lease) -> bytes:
    """The lease as a record of RECORD_BYTES."""
    return pack(dataclasses.asdict(lease))


def from_bytes(record: bytes) -> Lease | None:
    """The lease in a record, or None if it was never written. Raises LeaseUnreadable."""
    values = unpack(record)
    if values is None:
        return None
    try:
        lease = Lease(**{spec.name: values[spec.name] for spec in dataclasses.fields(Lease)})
    except KeyError as error:
        raise unreadable() from error
    wanted = {"machine_id": str, "owner": str, "fence": int, "heir": str, "is_released": bool, "at": int}
    if any(type(getattr(lease, name)) is not kind for name, kind in wanted.items()):
        raise unreadable()
    return lease


def pack(values: Mapping[str, object]) -> bytes:
    """JSON with a checksum, of RECORD_BYTES. Raises ValueError if it does not fit."""
    text = json.dumps(values, separators=(",", ":"), sort_keys=True).encode()
    record = b"%08x %s\n" % (zlib.crc32(text), text)
    if len(record) > RECORD_BYTES:
        raise ValueError(f"a record of {len(record)} bytes does not fit into {RECORD_BYTES}")
    return record.ljust(RECORD_BYTES, b"\0")


def unpack(record: bytes) -> dict[str, Any] | None:
    """The values in a record, or None for zeros. Raises LeaseUnreadable."""
    line = record[:RECORD_BYTES].rstrip(b"\0")
    if not line:
        return None
    checksum, _, text = line.rstrip(b"\n").partition(b" ")
    try:
        if int(checksum, 16) != zlib.crc32(text):
            raise unreadable()
        values = json.loads(text)
    except ValueError as error:
        raise unreadable() from error
    if not isinstance(values, dict):
        raise unreadable()
    return values


def unreadable() -> LeaseUnreadable:
    """The error for a lease that cannot be read."""
    return LeaseUnreadable("LEASE_HOLDER_UNKNOWN")

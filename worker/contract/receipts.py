"""Receipts: what the portal signs about a machine in each order, for itself to read later.

The host keeps the newest receipt of each machine and sends it in its observations. After the portal's
database was restored from a backup, it proves what was ordered since. A host cannot forge one, and it holds
no secret. Receipts are signed and read in `envelope`.
"""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class DiskReceipt:
    id: str
    pool: str
    size_gib: int
    vdev: str


@dataclass(frozen=True)
class NicReceipt:
    network: str
    bridge: str
    mac: str
    ipv4: str = ""


@dataclass(frozen=True)
class Receipt:
    """A machine as the portal had it when it gave an order for it."""

    kind: ClassVar[str] = "RECEIPT"
    machine_id: str
    #: kind of the order it was sent with, e.g. "CREATE", and that order's fencing number
    order: str
    fence: int
    #: Unix time by the portal's clock: of the order, and of the machine's creation
    at: int
    created_at: int
    name: str
    #: slug of its project, username of its owner, slug of its image
    project: str
    owner: str
    image: str
    vcpus: int
    memory_mib: int
    disks: tuple[DiskReceipt, ...]
    nics: tuple[NicReceipt, ...] = ()

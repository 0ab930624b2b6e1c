"""What the portal signs of a machine inside each order, for itself to read again.

The host keeps the newest one of each machine and shows it in its observations. After a backup of the
portal's database was restored, it proves what was ordered since: a host cannot make one, and it holds no
secret. How it is signed and read is in `envelope`.
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
    #: kind of the order it came with, e.g. "CREATE", and that order's fence
    order: str
    fence: int
    #: Unix time by the portal's clock: of the order, and of the machine's making
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

"""What `verify` compares, as plain values: hosts as they last showed themselves, rows as they stand.

Pure. Reading them from the database is `verify`, comparing them `comparing`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from webxen.diagnostics.findings import Finding
from webxen.inventory.queries import WrongClock
from webxen.machines.models import Machine
from worker.contract import DomainSeen, Holdings

State = Machine.State


@dataclass(frozen=True)
class ReceiptRow:
    """What the portal signed of a machine with an order that the rows do not explain."""

    name: str
    project: str
    owner: str
    #: kind of the newest order, e.g. "DELETE"
    order: str
    #: when the machine was made and when the order went out, as text in UTC
    made: str
    ordered: str


@dataclass(frozen=True)
class HostLook:
    """A host as it last showed itself."""

    name: str
    #: when it was last heard of
    seen: str = "was never heard of"
    is_silent: bool = False
    #: None: the list could not be read
    domains: tuple[DomainSeen, ...] | None = ()
    #: None: its worker does not say
    holdings: Holdings | None = field(default_factory=Holdings)
    #: pools it should have, as it said itself
    pools: tuple[str, ...] = ()
    images: Mapping[str, str] = field(default_factory=dict)
    memory_reserved_mib: int = 0
    #: what its machines hold by their reservations
    memory_held_mib: int = 0
    #: receipts of the portal's own that it shows, by the machine's id
    receipts: Mapping[str, ReceiptRow] = field(default_factory=dict)
    #: (id, bridge, address) it shows in use and no row gives to the same machine
    addresses: tuple[tuple[str, str, str], ...] = ()
    #: uuids of domains there that are not ours, and that staff knows
    left_alone: frozenset[str] = frozenset()
    #: None: its clock is not ahead, as far as anybody knows
    wrong_clock: WrongClock | None = None


@dataclass(frozen=True)
class DiskRow:
    id: str
    pool: str
    size_mib: int


@dataclass(frozen=True)
class MachineRow:
    """A machine as the database has it; deleted ones are known so that their remains have a name."""

    id: str
    name: str
    state: str = State.READY
    power: str = "OFF"
    host: str = ""
    vcpus: int = 1
    memory_mib: int = 128
    fence: int = 1
    disks: tuple[DiskRow, ...] = ()
    #: something is being done to it, or was after its host looked
    is_moving: bool = False
    #: hosts that keep its disks after they were copied elsewhere, until it has booted there
    kept_on: frozenset[str] = frozenset()
    #: (bridge, address, is there a row that holds it)
    addresses: tuple[tuple[str, str, bool], ...] = ()

    @property
    def is_deleted(self) -> bool:
        return self.state == State.DELETED


@dataclass(frozen=True)
class JobRow:
    """A job that is open, or ended after its host looked."""

    id: str
    kind: str
    machine: str
    host: str
    is_overdue: bool = False


@dataclass(frozen=True)
class AddressRow:
    """An address given out, and to whom."""

    ipv4: str
    network: str
    holder: str


@dataclass(frozen=True)
class Picture:
    """All that is compared."""

    hosts: tuple[HostLook, ...] = ()
    machines: tuple[MachineRow, ...] = ()
    jobs: tuple[JobRow, ...] = ()
    addresses: tuple[AddressRow, ...] = ()
    #: image file → digest as registered
    images: Mapping[str, str] = field(default_factory=dict)
    #: why the portal gives no orders until staff has looked; "": it does
    held: str = ""
    #: what the quota's own comparison found
    quota: tuple[Finding, ...] = ()
    #: what was found in the portal itself
    own: tuple[Finding, ...] = ()

    @property
    def known(self) -> dict[str, MachineRow]:
        return {machine.id: machine for machine in self.machines}

    @property
    def domains_anywhere(self) -> set[str]:
        """Uuids of all domains that any host shows, also one that has been silent since."""
        return {domain.uuid for host in self.hosts for domain in host.domains or ()}

    @property
    def looked(self) -> list[HostLook]:
        """Hosts whose word is fresh."""
        return [host for host in self.hosts if not host.is_silent]

"""The input of `verify` as plain values: hosts as last observed, rows as they are. Pure.

`verify` reads it from the database, `compare` compares it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from webxen.diagnostics.findings import Finding
from webxen.inventory.queries import WrongClock
from webxen.machines.models import Machine
from worker.contract import DomainSeen, Holdings

State = Machine.State


@dataclass(frozen=True)
class ReceiptRow:
    """The content of a receipt that no row explains."""

    name: str
    project: str
    owner: str
    #: kind of the newest order, e.g. "DELETE"
    order: str
    #: when the machine was created and when the order was sent, as text in UTC
    made: str
    ordered: str


@dataclass(frozen=True)
class HostLook:
    """A host as last observed."""

    name: str
    #: when it last reported; None: never
    seen_seconds_ago: int | None = None
    is_silent: bool = False
    #: None: the list could not be read
    domains: tuple[DomainSeen, ...] | None = ()
    #: None: not reported by its worker
    holdings: Holdings | None = field(default_factory=Holdings)
    #: pools it should have, by its own observation
    pools: tuple[str, ...] = ()
    images: Mapping[str, str] = field(default_factory=dict)
    memory_reserved_mib: int = 0
    #: sum of its machines' memory by their reservations
    memory_held_mib: int = 0
    #: receipts of this portal that it reports, by machine id
    receipts: Mapping[str, ReceiptRow] = field(default_factory=dict)
    #: (machine id, bridge, address) in use there without a row for the same machine
    addresses: tuple[tuple[str, str, str], ...] = ()
    #: uuids of foreign domains there that staff marked as known
    left_alone: frozenset[str] = frozenset()
    #: None: its clock is not ahead, as far as is known
    wrong_clock: WrongClock | None = None


@dataclass(frozen=True)
class DiskRow:
    id: str
    pool: str
    size_mib: int


@dataclass(frozen=True)
class MachineRow:
    """A machine in the database, including deleted ones of which hosts still have something."""

    id: str
    name: str
    state: str = State.READY
    power: str = "OFF"
    host: str = ""
    vcpus: int = 1
    memory_mib: int = 128
    fence: int = 1
    disks: tuple[DiskRow, ...] = ()
    #: it is being changed, or was changed after its host's observation
    is_moving: bool = False
    #: hosts that keep its disks after they were copied, until it has booted on the target
    kept_on: frozenset[str] = frozenset()
    #: (bridge, address, whether an Address row exists)
    addresses: tuple[tuple[str, str, bool], ...] = ()

    @property
    def is_deleted(self) -> bool:
        return self.state == State.DELETED


@dataclass(frozen=True)
class JobRow:
    """An open job, or one that ended after its host's observation."""

    id: str
    kind: str
    machine: str
    host: str
    is_overdue: bool = False


@dataclass(frozen=True)
class AddressRow:
    """An allocated address and its holder."""

    ipv4: str
    network: str
    holder: str


@dataclass(frozen=True)
class Picture:
    """Everything that is compared."""

    hosts: tuple[HostLook, ...] = ()
    machines: tuple[MachineRow, ...] = ()
    jobs: tuple[JobRow, ...] = ()
    addresses: tuple[AddressRow, ...] = ()
    #: image file → registered SHA-256
    images: Mapping[str, str] = field(default_factory=dict)
    #: why the portal gives no orders until staff confirms; "": it does
    held: str = ""
    #: findings of the quota comparison
    quota: tuple[Finding, ...] = ()
    #: findings about the portal itself
    own: tuple[Finding, ...] = ()

    @cached_property
    def known(self) -> dict[str, MachineRow]:
        return {machine.id: machine for machine in self.machines}

    @cached_property
    def domains_anywhere(self) -> set[str]:
        """Uuids of all domains of any host, including silent ones."""
        return {domain.uuid for host in self.hosts for domain in host.domains or ()}

    @cached_property
    def looked(self) -> list[HostLook]:
        """The hosts that are not silent."""
        return [host for host in self.hosts if not host.is_silent]

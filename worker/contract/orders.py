"""The orders to a dom0, and the message that changes the portal's keys.

A migration's orders are in `moves`.
"""

from dataclasses import dataclass, field
from typing import ClassVar

from worker.contract.machine import MachineSpec, SeedSpec


@dataclass(frozen=True)
class Order:
    """An order to a dom0. `job_id` is also the Celery task id."""

    kind: ClassVar[str] = ""
    job_id: str
    #: fencing number: a host refuses an order with a lower one than the highest it has accepted for the
    #: machine
    fence: int
    machine: MachineSpec
    #: how long the host may take from the moment it begins; set from the verb's row
    deadline_seconds: int = field(kw_only=True)


@dataclass(frozen=True)
class CreateMachine(Order):
    kind: ClassVar[str] = "CREATE"
    seed: SeedSpec


@dataclass(frozen=True)
class StartMachine(Order):
    kind: ClassVar[str] = "START"
    #: the host whose lease of the disks this start may break; set only if that host is proven to be off
    takes_over_from: str = ""


@dataclass(frozen=True)
class ShutdownMachine(Order):
    """Ask the guest to power off. FAILED with GUEST_IGNORED_SHUTDOWN if it does not in time."""

    kind: ClassVar[str] = "SHUTDOWN"


@dataclass(frozen=True)
class PoweroffMachine(Order):
    """Destroy the domain (xl destroy). Disks stay."""

    kind: ClassVar[str] = "POWEROFF"


@dataclass(frozen=True)
class RebootMachine(Order):
    kind: ClassVar[str] = "REBOOT"


@dataclass(frozen=True)
class DeleteMachine(Order):
    """Destroy the domain if there is one, then remove the listed disks and the machine's files."""

    kind: ClassVar[str] = "DELETE"


@dataclass(frozen=True)
class CancelJob(Order):
    """Cancel a job. `job_id` and `fence` are those of the job to be cancelled.

    A job that has not begun never will. A running job is stopped at its next safe point and undone. If it
    cannot be cancelled or has ended, the host reports that.
    """

    kind: ClassVar[str] = "CANCEL"
    deadline_seconds: int = field(default=30, kw_only=True)


@dataclass(frozen=True)
class PortalKeys:
    """The keys of the portal that a host trusts from now on, signed with a key that it already trusts."""

    kind: ClassVar[str] = "PORTAL_KEYS"
    #: PEM; the key that the portal signs with comes first
    keys: tuple[str, ...]
    #: grows, so that a replayed older message cannot restore a key
    serial: int

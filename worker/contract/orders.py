"""What a dom0 is asked to do, and whose word it shall believe. A move's orders are in `moves`."""

from dataclasses import dataclass, field
from typing import ClassVar

from worker.contract.machine import MachineSpec, SeedSpec


@dataclass(frozen=True)
class Order:
    """Something a dom0 is asked to do. `job_id` is also the Celery task id."""

    kind: ClassVar[str] = ""
    job_id: str
    #: the highest fence seen for a machine wins; a lower one is refused
    fence: int
    machine: MachineSpec
    #: how long the host may take from the moment it begins; the row of the verb says how long that is
    deadline_seconds: int = field(kw_only=True)


@dataclass(frozen=True)
class CreateMachine(Order):
    kind: ClassVar[str] = "CREATE"
    seed: SeedSpec


@dataclass(frozen=True)
class StartMachine(Order):
    kind: ClassVar[str] = "START"
    #: the host whose lease of the disks this start may break: only once it is proven to be off
    takes_over_from: str = ""


@dataclass(frozen=True)
class ShutdownMachine(Order):
    """Ask the guest to power off; FAILED with GUEST_IGNORED_SHUTDOWN when it does not in time."""

    kind: ClassVar[str] = "SHUTDOWN"


@dataclass(frozen=True)
class PoweroffMachine(Order):
    """Pull the plug (xl destroy). Disks stay."""

    kind: ClassVar[str] = "POWEROFF"


@dataclass(frozen=True)
class RebootMachine(Order):
    kind: ClassVar[str] = "REBOOT"


@dataclass(frozen=True)
class DeleteMachine(Order):
    """Pull the plug if need be, then remove the disks listed, the config and nothing else."""

    kind: ClassVar[str] = "DELETE"


@dataclass(frozen=True)
class CancelJob(Order):
    """Take an order back: `job_id` and `fence` are those of the job that is to end.

    Not carried out yet: it never will be. Under way: broken off at its next safe point and undone.
    Where that cannot be, or it has ended, the host says so.
    """

    kind: ClassVar[str] = "CANCEL"
    deadline_seconds: int = field(default=30, kw_only=True)


@dataclass(frozen=True)
class PortalKeys:
    """Which keys of the portal a host shall trust from now on; in an envelope signed by one it trusts."""

    kind: ClassVar[str] = "PORTAL_KEYS"
    #: PEM, the one that signs first
    keys: tuple[str, ...]
    #: counts up: an older word, replayed, brings no key back
    serial: int

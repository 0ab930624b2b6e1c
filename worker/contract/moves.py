"""Migration of a machine to another host: its three orders, and what each host reports about it."""

import typing
import uuid
from dataclasses import dataclass
from typing import ClassVar, Literal

from worker.contract.orders import Order
from worker.contract.seen import DomainSeen

#: LIVE: the machine runs while its memory is copied; SUSPENDED: it is paused during the copy; COLD: it is
#: off, and disks that the target does not see are copied
MoveMethod = Literal["LIVE", "SUSPENDED", "COLD"]
MoveSide = Literal["SOURCE", "TARGET"]
MoveVerdict = Literal["MOVED", "STAYED"]


@dataclass(frozen=True)
class ReceiveMachine(Order):
    """To the target: wait for one machine from one host and receive it.

    Its job id is that of the MIGRATE order: a migration is one job with a part on each host.
    """

    kind: ClassVar[str] = "RECEIVE"
    #: name of the source
    source: str
    #: PEM of the source's relay certificate; no other host may connect
    certificate: str
    method: MoveMethod = "LIVE"
    #: COLD: ids of the disks that are copied; the others are seen by both hosts
    copied: tuple[str, ...] = ()
    #: COLD: shut the machine down on the source first, and start it on the target afterwards
    restarts: bool = False
    #: IP address of the source's relay, whose connections have priority; "": not known
    source_address: str = ""


@dataclass(frozen=True)
class MigrateMachine(Order):
    """To the source, once the target listens: send the machine."""

    kind: ClassVar[str] = "MIGRATE"
    #: name of the target
    target: str
    #: IP address and port at which the target's relay listens, and its certificate (PEM)
    address: str
    port: int
    certificate: str
    method: MoveMethod = "LIVE"
    #: rate limit; 0: none
    rate_mib_s: int = 0
    #: as in ReceiveMachine
    copied: tuple[str, ...] = ()
    restarts: bool = False


def settle_job_id(move_job_id: str, side: MoveSide, attempt: int = 0) -> str:
    """Id of the job that settles one side of a migration; another attempt has another id."""
    return str(uuid.uuid5(uuid.UUID(move_job_id), f"settle {side} {attempt}"))


def discard_job_id(move_job_id: str, attempt: int = 0) -> str:
    """Id of the job in which the source removes the disks that it has kept."""
    return str(uuid.uuid5(uuid.UUID(move_job_id), f"discard {attempt}"))


@dataclass(frozen=True)
class SettleMove(Order):
    """To either side: the portal has compared both hosts and says where the machine is.

    `job_id` is `settle_job_id(…)`; the fencing number is the migration's. The host looks again, refuses a
    verdict that contradicts what it sees, and otherwise cleans up. It may be given at any time after the
    migration's end.
    """

    kind: ClassVar[str] = "SETTLE_MOVE"
    move_job_id: str
    side: MoveSide
    verdict: MoveVerdict
    #: SOURCE, MOVED: ids of the copied disks that are no longer needed here. This is the only order by which
    #: a migration removes a disk that was complete
    discards: tuple[str, ...] = ()


#: phases of a migration in order, as one host's relay knows them
MovePhase = Literal["NONE", "CONNECTED", "STREAM", "READY", "GO", "REPORTED"]
MOVE_PHASES: tuple[MovePhase, ...] = typing.get_args(MovePhase)


@dataclass(frozen=True)
class MoveFacts:
    """What one host knows of a migration. The verdict is derived from the facts of both hosts."""

    #: the migration's job, also in reports of the job that settles it
    job_id: str
    side: MoveSide
    #: the furthest phase in this relay's journal
    phase: MovePhase = "NONE"
    #: this relay let GO pass, after which the target runs the machine (written to disk before GO passed)
    go_passed: bool = False
    #: this relay lets no GO pass from now on (written to disk before it is reported)
    closed: bool = False
    #: every domain of this machine on this host: NAME, NAME--incoming, NAME--migratedaway; None: unreadable
    domains: tuple[DomainSeen, ...] | None = None
    #: this host sees all disks of the machine
    disks_visible: bool = False
    #: port at which the target's relay listens for this migration; 0: none
    port: int = 0
    # progress
    bytes_sent: int = 0
    memory_mib: int = 0
    rate_mib_s: float = 0.0
    passes: int = 0
    #: -1: not known
    remaining_seconds: float = -1.0
    #: from the guest's stop on the source to the target's report that it runs; -1: not known
    blackout_ms: int = -1
    #: MiB to be copied: the data on its disks, or its memory; 0: not known
    total_mib: int = 0
    #: the target has seen it boot to its login prompt
    booted: bool = False

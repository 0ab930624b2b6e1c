"""Moving a machine to another host: the three orders of a move, and what each side says of it."""

import typing
import uuid
from dataclasses import dataclass
from typing import ClassVar, Literal

from worker.contract.orders import Order
from worker.contract.seen import DomainSeen

#: LIVE: it runs while its memory is copied; SUSPENDED: it stands still from the first byte to the last;
#: COLD: it is off, and disks that the target does not see are carried over
MoveMethod = Literal["LIVE", "SUSPENDED", "COLD"]
MoveSide = Literal["SOURCE", "TARGET"]
MoveVerdict = Literal["MOVED", "STAYED"]


@dataclass(frozen=True)
class ReceiveMachine(Order):
    """To the target: wait for this one machine from this one host, and take it in.

    Its id is that of the MIGRATE order: one move is one job with a part on either host.
    """

    kind: ClassVar[str] = "RECEIVE"
    #: name of the host it comes from
    source: str
    #: PEM of the source's relay certificate: nobody else may connect
    certificate: str
    method: MoveMethod = "LIVE"
    #: COLD: ids of the disks that are carried over; the others are seen from both hosts
    copied: tuple[str, ...] = ()
    #: COLD: it is shut down on the source first, and started on the target when all is there
    restarts: bool = False
    #: IP address of the source's relay: who comes from there is let in first; "" where it is not known
    source_address: str = ""


@dataclass(frozen=True)
class MigrateMachine(Order):
    """To the source, once the target listens: send the machine over."""

    kind: ClassVar[str] = "MIGRATE"
    #: name of the host it goes to
    target: str
    #: where the target's relay listens (an IP address), and its certificate (PEM)
    address: str
    port: int
    certificate: str
    method: MoveMethod = "LIVE"
    #: 0: as fast as it goes
    rate_mib_s: int = 0
    #: as the target was told
    copied: tuple[str, ...] = ()
    restarts: bool = False


def settle_job_id(move_job_id: str, side: MoveSide, attempt: int = 0) -> str:
    """Name the job that settles one side of a move: another attempt is another job."""
    return str(uuid.uuid5(uuid.UUID(move_job_id), f"settle {side} {attempt}"))


def discard_job_id(move_job_id: str, attempt: int = 0) -> str:
    """Name the job in which the source lets the disks go that it has kept."""
    return str(uuid.uuid5(uuid.UUID(move_job_id), f"discard {attempt}"))


@dataclass(frozen=True)
class SettleMove(Order):
    """To either side: the portal has compared both hosts and says where the machine is.

    `job_id` is `settle_job_id(…)`; the fence is the move's. The host looks again, refuses a verdict that
    contradicts what it sees, and otherwise cleans up. It may be given at any time after a move's end.
    """

    kind: ClassVar[str] = "SETTLE_MOVE"
    move_job_id: str
    side: MoveSide
    verdict: MoveVerdict
    #: SOURCE, MOVED: ids of the disks that were carried over and are no longer needed here. The only
    #: order by which a move removes a disk that was whole
    discards: tuple[str, ...] = ()


#: how far a move has come, in this order, as one host's relay knows it
MovePhase = Literal["NONE", "CONNECTED", "STREAM", "READY", "GO", "REPORTED"]
MOVE_PHASES: tuple[MovePhase, ...] = typing.get_args(MovePhase)


@dataclass(frozen=True)
class MoveFacts:
    """What one host knows of a move. The verdict is made of both hosts' facts, never of one's."""

    #: the move's job, also where it is told by the job that settles it
    job_id: str
    side: MoveSide
    #: the furthest point in this relay's own journal
    phase: MovePhase = "NONE"
    #: this relay has let the word pass after which the target runs the machine (on disk before it passed)
    go_passed: bool = False
    #: this relay lets no such word pass any more, whatever comes (on disk before it is told)
    closed: bool = False
    #: every domain of this machine on this host: NAME, NAME--incoming, NAME--migratedaway; None: not readable
    domains: tuple[DomainSeen, ...] | None = None
    #: all disks of the machine can be seen from this host
    disks_visible: bool = False
    #: where the target's relay listens for this move; 0 when it does not
    port: int = 0
    # how it goes
    bytes_sent: int = 0
    memory_mib: int = 0
    rate_mib_s: float = 0.0
    passes: int = 0
    #: -1: not known
    remaining_seconds: float = -1.0
    #: between the guest's stop on the source and the target's word that it runs; -1: not known
    blackout_ms: int = -1
    #: what is to be carried over: the data on its disks, or its memory; 0: not known
    total_mib: int = 0
    #: the target has seen it boot to its login prompt
    booted: bool = False

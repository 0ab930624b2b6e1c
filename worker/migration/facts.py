"""What this host sees of a move: domains, disks, the relay's journal.

Lives here: `Move`, one side of a move while it is carried out, and looking. Nothing here changes a
domain; what follows from the facts is `migrate`, `settle` and, over both hosts' facts, the portal.
"""

import logging
import socket
import time
from pathlib import Path
from typing import Generic

from worker import errors, storage
from worker.contract import MachineSpec, MoveFacts, MoveSide, Order
from worker.job.context import HostContext, JobContext, OrderT_co
from worker.observe import observer
from worker.relay.gate import Progress, Relay
from worker.relay.journal import MoveJournal
from worker.xen import xl

logger = logging.getLogger(__name__)

INCOMING, AWAY = "--incoming", "--migratedaway"
MIB = 1 << 20


class Move(Generic[OrderT_co]):
    """One side of one move."""

    def __init__(self, work: JobContext[OrderT_co], *, job_id: str, side: MoveSide) -> None:
        self.work, self.job_id, self.side = work, job_id, side
        self.dom0, self.machine = work.dom0, work.machine
        self.journal = MoveJournal(work.dom0.settings.moves_dir, job_id, side)
        self.relay: Relay | None = None
        self.port = 0
        #: xl was still at work when the move's end was concluded
        self.is_xl_left = False
        #: xl's transport on the source: hung up when the relay has ended
        self.plug: socket.socket | None = None
        #: what broke it off, where it was foreseen: the end says this and not only that it ended
        self.failure: errors.WorkerError | None = None
        #: of a cold move: bytes of data on its disks, and how many have been gone over
        self.data_bytes = self.done_bytes = 0
        self.booted = False

    def path(self, ending: str) -> Path:
        """A file of this move's own."""
        return self.dom0.settings.moves_dir / f"{self.job_id}.{self.side.lower()}.{ending}"

    def tell(self, step: str, progress: int) -> None:
        """JobReporter of how far it is. Costs no look at the host."""
        self.work.news.move = self._facts()
        self.work.news.step(step, progress)

    def look(self) -> tuple[xl.Domain, ...]:
        """The machine's domains here, now; kept as the facts that the next report tells."""
        self.work.news.move = self._facts()
        found = domains_of(self.dom0, self.machine)
        self.work.news.move = self._facts(found, disks_visible=has_disks(self.dom0, self.machine))
        return found

    def _facts(self, found: tuple[xl.Domain, ...] | None = None, *, disks_visible: bool = False) -> MoveFacts:
        passed = self.journal.passed
        progress = self.relay.progress() if self.relay is not None else Progress()
        return MoveFacts(
            job_id=self.job_id,
            side=self.side,
            phase=passed.phase,
            go_passed=passed.go_passed,
            # With GO passed: and no xl is left that could still act on it.
            closed=passed.closed and not (passed.go_passed and self.is_xl_left),
            domains=None if found is None else tuple(observer.seen(domain) for domain in found),
            disks_visible=disks_visible,
            port=self.port,
            bytes_sent=progress.bytes_sent,
            memory_mib=self.machine.memory_mib,
            rate_mib_s=progress.rate_mib_s,
            passes=progress.passes,
            remaining_seconds=self._remaining(progress),
            # a machine that is off stands still for longer than its disks take
            blackout_ms=-1 if self.is_cold else progress.blackout_ms,
            # what changed while it was copied is sent again, and counts then
            total_mib=-(-max(self._total_bytes, progress.bytes_sent if self.is_cold else 0) // MIB),
            booted=self.booted,
        )

    @property
    def is_cold(self) -> bool:
        return getattr(self.work.order, "method", "") == "COLD"

    @property
    def _total_bytes(self) -> int:
        return self.data_bytes if self.is_cold else self.machine.memory_mib * MIB

    def _done(self, progress: Progress) -> int:
        """Zeros are gone over and not sent."""
        return self.done_bytes if self.is_cold else progress.bytes_sent

    def _remaining(self, progress: Progress) -> float:
        """How long the first pass still takes; the passes after it are short, or the guest is very busy."""
        if not progress.rate_mib_s:
            return -1.0
        if self.is_cold:
            # by what has been gone over, not by what was sent
            return round((self.data_bytes - self.done_bytes) * progress.seconds / max(1, self.done_bytes), 1)
        left = max(0.0, self.machine.memory_mib - progress.bytes_sent / MIB)
        return round(left / progress.rate_mib_s, 1)

    @property
    def percent(self) -> int:
        """Of the whole job: the first pass is most of it."""
        progress = self.relay.progress() if self.relay is not None else Progress()
        part = self._done(progress) / max(1, self._total_bytes)
        return self.work.share("STREAM", min(1.0, part))


def domains_of(dom0: HostContext, machine: MachineSpec) -> tuple[xl.Domain, ...]:
    """Every domain with the machine's uuid or one of its names. Raises XlUnreadable."""
    names = {machine.domain, machine.domain + INCOMING, machine.domain + AWAY}
    try:
        found = dom0.xl.domains()
    except xl.XlError as error:
        raise errors.XlUnreadable(
            "The host's list of domains cannot be read, so nothing is concluded. Look again or tell an"
            " administrator."
        ) from error
    return tuple(domain for domain in found if domain.uuid == machine.id or domain.name in names)


def own(found: tuple[xl.Domain, ...], machine: MachineSpec) -> xl.Domain | None:
    """The one that is this machine, whatever it is called."""
    return next((domain for domain in found if domain.uuid == machine.id), None)


def has_disks(dom0: HostContext, machine: MachineSpec) -> bool:
    """Are their devices or files there? Looked at without a program: a guest may be standing still."""
    try:
        pools = [(storage.find_pool(dom0.settings, disk.pool), disk.id) for disk in machine.disks]
        return all(pool.path(machine.id, disk_id).exists() for pool, disk_id in pools)
    except (errors.WorkerError, OSError) as error:
        logger.warning("the disks of machine %s cannot be looked for: %s", machine.id, error)
        return False


def wait_for_xl(move: Move[Order], *, seconds: float) -> None:
    """Wait for the xl of this move, this worker's or an earlier one's."""
    marks = move.work.entry.marks
    pid, start = marks.get("xl_pid", ""), marks.get("xl_start", "")
    until = time.monotonic() + seconds
    while pid and start_of(int(pid)) == start:
        if time.monotonic() > until:
            logger.error("xl of move %s has not ended", move.job_id)
            move.is_xl_left = True
            return
        time.sleep(0.1)


def start_of(pid: int) -> str:
    """When a process began, so that its number, used again, is not taken for it; "" when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if fields[0] in {"Z", "X"} else fields[19]

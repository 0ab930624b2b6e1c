"""What this host knows of a migration: domains, disks, the relay's journal.

`Move` is one side of a migration while it is executed. Nothing here changes a domain. Conclusions are drawn
in `source`, `target` and `finalize`, and, from both hosts' facts, by the portal.
"""

import logging
import socket
import time
from pathlib import Path
from typing import Generic

from worker import errors
from worker.contract import MIB, MachineSpec, MoveFacts, MoveSide, Order
from worker.job.context import HostContext, JobContext, OrderT_co
from worker.relay.gate import Progress, Relay
from worker.relay.journal import MoveJournal
from worker.xen import xl

logger = logging.getLogger(__name__)

INCOMING, AWAY = "--incoming", "--migratedaway"


class Move(Generic[OrderT_co]):
    """One side of one migration."""

    def __init__(self, work: JobContext[OrderT_co], *, job_id: str, side: MoveSide) -> None:
        self.work, self.job_id, self.side = work, job_id, side
        self.dom0, self.machine = work.dom0, work.machine
        self.journal = MoveJournal(work.dom0.settings.moves_dir, job_id, side)
        self.relay: Relay | None = None
        self.port = 0
        #: xl was still running when the migration's end was concluded
        self.is_xl_left = False
        #: connection to xl's transport program on the source; closed when the relay has ended
        self.plug: socket.socket | None = None
        #: the foreseen error that stopped it; the end reports this error
        self.failure: errors.WorkerError | None = None
        #: of a cold migration: bytes of data on its disks, and how many of them were read
        self.data_bytes = self.done_bytes = 0
        self.booted = False

    def path(self, ending: str) -> Path:
        """The path of a file that belongs to this migration."""
        return self.dom0.settings.moves_dir / f"{self.job_id}.{self.side.lower()}.{ending}"

    def tell(self, step: str, progress: int) -> None:
        """Report the progress in percent. Does not call xl."""
        self.work.news.move = self._facts()
        self.work.news.step(step, progress)

    def look(self) -> tuple[xl.Domain, ...]:
        """The machine's domains on this host, now; also stored as the facts of the next report.

        Raises XlUnreadable.
        """
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
            # with GO passed, closed also means that no xl is left that could act on it
            closed=passed.closed and not (passed.go_passed and self.is_xl_left),
            domains=None if found is None else tuple(domain.as_seen() for domain in found),
            disks_visible=disks_visible,
            port=self.port,
            bytes_sent=progress.bytes_sent,
            memory_mib=self.machine.memory_mib,
            rate_mib_s=progress.rate_mib_s,
            passes=progress.passes,
            remaining_seconds=self._remaining(progress),
            # a machine that is switched off is down for longer than its disks take
            blackout_ms=-1 if self.is_cold else progress.blackout_ms,
            # blocks that changed during the copy are sent again, and count in the total
            total_mib=-(-max(self._total_bytes, progress.bytes_sent if self.is_cold else 0) // MIB),
            booted=self.booted,
        )

    @property
    def is_cold(self) -> bool:
        """Whether this is a cold migration."""
        return getattr(self.work.order, "method", "") == "COLD"

    @property
    def _total_bytes(self) -> int:
        return self.data_bytes if self.is_cold else self.machine.memory_mib * MIB

    def _done(self, progress: Progress) -> int:
        """Bytes done. Of a disk, zeros are read and not sent, so bytes sent would be too few."""
        return self.done_bytes if self.is_cold else progress.bytes_sent

    def _remaining(self, progress: Progress) -> float:
        """Seconds until the end of the first pass; -1.0 if unknown.

        Later passes are short unless the guest is very busy.
        """
        if not progress.rate_mib_s:
            return -1.0
        if self.is_cold:
            # by what was read, not by what was sent
            return round((self.data_bytes - self.done_bytes) * progress.seconds / max(1, self.done_bytes), 1)
        left = max(0.0, self.machine.memory_mib - progress.bytes_sent / MIB)
        return round(left / progress.rate_mib_s, 1)

    @property
    def percent(self) -> int:
        """Progress of the whole job in percent; the first pass is most of it."""
        progress = self.relay.progress() if self.relay is not None else Progress()
        part = self._done(progress) / max(1, self._total_bytes)
        return self.work.share("STREAM", min(1.0, part))


def domains_of(dom0: HostContext, machine: MachineSpec) -> tuple[xl.Domain, ...]:
    """Every domain with the machine's uuid or one of its names. Raises XlUnreadable."""
    names = {machine.domain, machine.domain + INCOMING, machine.domain + AWAY}
    try:
        found = dom0.xl.domains()
    except xl.XlError as error:
        raise errors.XlUnreadable("DOMAINS_NOT_LISTED") from error
    return tuple(domain for domain in found if domain.uuid == machine.id or domain.name in names)


def own(found: tuple[xl.Domain, ...], machine: MachineSpec) -> xl.Domain | None:
    """The domain with the machine's uuid, whatever its name."""
    return next((domain for domain in found if domain.uuid == machine.id), None)


def has_disks(dom0: HostContext, machine: MachineSpec) -> bool:
    """Whether all disks exist here. Runs no program, because a guest may be paused meanwhile."""
    try:
        pools = [(dom0.pools.find(disk.pool), disk.id) for disk in machine.disks]
        return all(pool.path(machine.id, disk_id).exists() for pool, disk_id in pools)
    except (errors.WorkerError, OSError) as error:
        logger.warning("the disks of machine %s cannot be looked for: %s", machine.id, error)
        return False


def wait_for_xl(move: Move[Order], *, seconds: float) -> None:
    """Wait until the xl of this migration has ended, whether this worker or an earlier one started it."""
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
    """Start time of a process in clock ticks since boot, to detect a reused pid (proc(5)); "" if it has
    ended.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if fields[0] in {"Z", "X"} else fields[19]

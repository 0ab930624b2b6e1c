"""The lock of a shared volume group, which one host at a time may change: Lamport's bakery on the lease
volume.

Each host writes only its own slot, so the storage needs no more than atomic writes of one sector. There is no
time-out after which a silent host is ignored: staff, or an order that names a fenced host, frees its slot
(`forget`).
"""

import contextlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from worker import failpoints
from worker.errors import LeaseUnreadable, PoolBusy, PoolMisconfigured
from worker.files import LockHeld, locked
from worker.storage import lease
from worker.storage.area import MAX_HOSTS, Area

POLL_SECONDS = 0.1
WAIT_SECONDS = 90.0


@dataclass(frozen=True)
class Turn:
    """The content of a host's slot."""

    host: str = ""
    #: 0: the host does not want the lock
    number: int = 0
    #: the host is choosing a number now
    is_choosing: bool = False
    #: what the lock is for; shown to people
    doing: str = ""
    at: int = 0


class Turns:
    """The lock of one group, as this host takes it. `number` is its own slot, WEBXEN_HOST_NUMBER."""

    def __init__(self, area: Area, *, pool: str, host: str, number: int, lock: Path) -> None:
        self.area = area
        self.pool = pool
        self.host = host
        self.number = number
        #: excludes other processes of this host
        self.lock = lock

    @contextmanager
    def taken(self, doing: str, *, wait_seconds: float = WAIT_SECONDS) -> Iterator[None]:
        """Hold the lock. Raises PoolBusy, which names the holder, PoolMisconfigured, OSError."""
        until = time.monotonic() + wait_seconds
        with self._alone_here(wait_seconds):
            mine = self._draw(doing)
            failpoints.reach("a number is drawn")
            try:
                self._wait(mine, until)
                failpoints.reach("the turn is taken")
                yield
            finally:
                self._write(Turn(host=self.host))

    @contextmanager
    def _alone_here(self, wait_seconds: float) -> Iterator[None]:
        """Exclude other processes of this host, which would write the same slot."""
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(locked(self.lock, wait_seconds=wait_seconds))
            except LockHeld as error:
                raise PoolBusy("POOL_IN_USE", pool=self.pool) from error
            yield

    def forget(self, host: str) -> bool:
        """Free the slot of a host that is proven to be off. Returns whether it held or wanted the lock."""
        for index, turn in self._read().items():
            if turn.host == host and (turn.number or turn.is_choosing):
                self.area.write(index, lease.pack(_values(Turn(host=host))))
                return True
        return False

    def tidy(self) -> None:
        """Release a lock with which an earlier worker of this host died."""
        self._check_number()
        if self._read().get(self.number, Turn()).number:
            with self.taken("tidying up"):
                pass

    def _draw(self, doing: str) -> Turn:
        self._check_number()
        seen = self._read()
        left_over = seen.get(self.number, Turn())
        if left_over.number and not left_over.is_choosing:
            # A worker of this host died with it. What it began may still run, so no other host may go first.
            return left_over
        self._write(Turn(self.host, is_choosing=True, doing=doing, at=int(time.time())))
        failpoints.reach("a number is being drawn")
        highest = max((turn.number for turn in self._read().values()), default=0)
        mine = Turn(self.host, highest + 1, doing=doing, at=int(time.time()))
        self._write(mine)
        return mine

    def _wait(self, mine: Turn, until: float) -> None:
        # A host seen behind this one, or idle, cannot get in front any more.
        waiting = set(range(1, MAX_HOSTS + 1)) - {self.number}
        while True:
            seen = self._read()
            self._check_owner(seen)
            for index in tuple(waiting):
                turn = seen.get(index, Turn())
                is_before = turn.number and (turn.number, index) < (mine.number, self.number)
                if not turn.is_choosing and not is_before:
                    waiting.discard(index)
            if not waiting:
                return
            if time.monotonic() > until:
                raise self._busy(seen[min(waiting)])
            time.sleep(POLL_SECONDS)

    def _busy(self, turn: Turn) -> PoolBusy:
        since = time.strftime("%H:%M:%S UTC", time.gmtime(turn.at))
        return PoolBusy(
            "POOL_BEING_CHANGED",
            host=turn.host or "Another host",
            pool=self.pool,
            since=since,
            doing=turn.doing or "unknown",
        )

    def _check_number(self) -> None:
        if not 1 <= self.number <= MAX_HOSTS:
            raise PoolMisconfigured("HOST_NUMBER_MISSING", pool=self.pool, limit=MAX_HOSTS)
        self._check_owner(self._read())

    def _check_owner(self, seen: dict[int, Turn]) -> None:
        known = seen.get(self.number, Turn())
        if known.host and known.host != self.host:
            raise PoolMisconfigured(
                "HOST_NUMBER_TAKEN", number=self.number, pool=self.pool, owner=known.host, host=self.host
            )

    def _read(self) -> dict[int, Turn]:
        found = {}
        for index, record in enumerate(self.area.read(1, MAX_HOSTS), start=1):
            try:
                values = lease.unpack(record)
            except LeaseUnreadable:
                # It is being written now, or broken: in both cases no host may go first.
                found[index] = Turn(is_choosing=True, doing="its slot cannot be read")
                continue
            if values is not None:
                found[index] = _turn(values)
        return found

    def _write(self, turn: Turn) -> None:
        self.area.write(self.number, lease.pack(_values(turn)))


def _values(turn: Turn) -> dict[str, object]:
    return {
        "host": turn.host,
        "number": turn.number,
        "choosing": turn.is_choosing,
        "doing": turn.doing[:80],
        "at": turn.at,
    }


def _turn(values: dict[str, object]) -> Turn:
    number, at = values.get("number"), values.get("at")
    return Turn(
        host=str(values.get("host", "")),
        number=number if isinstance(number, int) else 0,
        is_choosing=values.get("choosing") is not False,
        doing=str(values.get("doing", "")),
        at=at if isinstance(at, int) else 0,
    )

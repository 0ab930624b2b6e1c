"""One host at a time changes a volume group that several hosts see: Lamport's bakery on the lease volume.

Lives here: drawing a number, waiting for one's turn, letting go. Each host writes only its own slot,
so nothing more is asked of the disk than that a sector is written whole. There is no time-out that
lets a host past another one that is silent: staff, or an order that names a fenced host, does that
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
    """What a host's slot says."""

    host: str = ""
    #: 0: does not want a turn
    number: int = 0
    #: is drawing a number just now
    is_choosing: bool = False
    #: for people who find it stuck
    doing: str = ""
    at: int = 0


class Turns:
    """The turns of one group, as this host takes them. `number`: its own slot, WEBXEN_HOST_NUMBER."""

    def __init__(self, area: Area, *, pool: str, host: str, number: int, lock: Path) -> None:
        self.area = area
        self.pool = pool
        self.host = host
        self.number = number
        #: among the processes of this host
        self.lock = lock

    @contextmanager
    def taken(self, doing: str, *, wait_seconds: float = WAIT_SECONDS) -> Iterator[None]:
        """Hold the turn. Raises PoolBusy with who has it, PoolMisconfigured, OSError."""
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
        """Two processes of one host would write one slot."""
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(locked(self.lock, wait_seconds=wait_seconds))
            except LockHeld as error:
                raise PoolBusy(
                    f"This host is busy with the pool {self.pool}. Try again in a few minutes."
                ) from error
            yield

    def forget(self, host: str) -> bool:
        """Take the turn from a host that is proven to be off. Did it have or want one?"""
        for index, turn in self._read().items():
            if turn.host == host and (turn.number or turn.is_choosing):
                self.area.write(index, lease.pack(_values(Turn(host=host))))
                return True
        return False

    def tidy(self) -> None:
        """Let go of a turn that an earlier worker of this host died with; others wait for it."""
        self._check_number()
        if self._read().get(self.number, Turn()).number:
            with self.taken("tidying up"):
                pass

    def _draw(self, doing: str) -> Turn:
        self._check_number()
        seen = self._read()
        left_over = seen.get(self.number, Turn())
        if left_over.number and not left_over.is_choosing:
            # A worker of ours died with it. What it began may still run: nobody may pass meanwhile.
            return left_over
        self._write(Turn(self.host, is_choosing=True, doing=doing, at=int(time.time())))
        failpoints.reach("a number is being drawn")
        highest = max((turn.number for turn in self._read().values()), default=0)
        mine = Turn(self.host, highest + 1, doing=doing, at=int(time.time()))
        self._write(mine)
        return mine

    def _wait(self, mine: Turn, until: float) -> None:
        # Who was seen behind us, or idle, cannot come before us any more.
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
            f"{turn.host or 'Another host'} has been changing the pool {self.pool} since {since}"
            f" ({turn.doing or 'unknown'}). Try again in a few minutes; if that host is off, an administrator"
            f" runs `webxen-worker release-lock {self.pool} {turn.host}`."
        )

    def _check_number(self) -> None:
        if not 1 <= self.number <= MAX_HOSTS:
            raise PoolMisconfigured(
                f"The pool {self.pool} is shared, so this host needs a number of its own. Ask an"
                f" administrator to set WEBXEN_HOST_NUMBER (1 to {MAX_HOSTS})."
            )
        self._check_owner(self._read())

    def _check_owner(self, seen: dict[int, Turn]) -> None:
        known = seen.get(self.number, Turn())
        if known.host and known.host != self.host:
            raise PoolMisconfigured(
                f"Number {self.number} of the pool {self.pool} is {known.host}'s. Ask an administrator to"
                f" give {self.host} another WEBXEN_HOST_NUMBER."
            )

    def _read(self) -> dict[int, Turn]:
        found = {}
        for index, record in enumerate(self.area.read(1, MAX_HOSTS), start=1):
            try:
                values = lease.unpack(record)
            except LeaseUnreadable:
                # Being written just now, or broken: either way nobody may pass.
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

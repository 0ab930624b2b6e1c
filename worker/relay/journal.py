"""The relay's journal of one migration: what the relay let pass, written to disk before it passes.

One small file per migration and side. `pass_go` and `close` exclude each other, also across a kill and a
restart: the one written first holds.
"""

import dataclasses
import json
import logging
import threading
from dataclasses import dataclass
from pathlib import Path

from worker import failpoints
from worker.contract import MOVE_PHASES, MovePhase, MoveSide
from worker.files import write_durably

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Passed:
    """The content of the file."""

    phase: MovePhase = "NONE"
    go_passed: bool = False
    closed: bool = False


class MoveJournal:
    """One side's file of one migration. Only the agent writes it, under the machine's lock."""

    def __init__(self, directory: Path, job_id: str, side: MoveSide) -> None:
        self._path = directory / f"{job_id}.{side.lower()}.json"
        self._lock = threading.Lock()
        self._passed = _read(self._path)

    @property
    def passed(self) -> Passed:
        """What has passed so far."""
        return self._passed

    @property
    def is_begun(self) -> bool:
        """Whether the file exists."""
        return self._path.exists()

    def begin(self) -> None:
        """Create the file. Raises OSError."""
        with self._lock:
            self._write()

    def reach(self, phase: MovePhase) -> None:
        """Advance to a phase and write it durably. A phase never goes back. Raises OSError."""
        with self._lock:
            if MOVE_PHASES.index(phase) > MOVE_PHASES.index(self._passed.phase):
                self._write(phase=phase)
        failpoints.reach(f"a move is at {phase}")

    def note(self, phase: MovePhase) -> None:
        """Advance to a phase without writing it; the next write includes it. No decision depends on such a
        phase.

        It is reached while the guest is paused, and a flush of the disk would prolong the pause.
        """
        with self._lock:
            if MOVE_PHASES.index(phase) > MOVE_PHASES.index(self._passed.phase):
                self._passed = dataclasses.replace(self._passed, phase=phase)
        failpoints.reach(f"a move is at {phase}")

    def pass_go(self) -> bool:
        """Record that GO passes. Returns False if it must not pass.

        Raises OSError; it must not pass then either.
        """
        failpoints.reach("before GO is written down")
        with self._lock:
            if self._passed.closed or self._passed.go_passed:
                return False
            self._write(phase="GO", go_passed=True)
        failpoints.reach("after GO is written down")
        return True

    def close(self) -> bool:
        """Let no GO pass from now on. Returns True if none has passed.

        Raises OSError; the result is unknown then.
        """
        with self._lock:
            if not self._passed.closed:
                self._write(closed=True)
            return not self._passed.go_passed

    def _write(self, **changes: object) -> None:
        passed = dataclasses.replace(self._passed, **changes)  # type: ignore[arg-type]
        write_durably(self._path, json.dumps(dataclasses.asdict(passed)).encode())
        self._passed = passed


def _read(path: Path) -> Passed:
    try:
        values = json.loads(path.read_bytes())
        phase, go_passed, closed = values["phase"], values["go_passed"], values["closed"]
    except FileNotFoundError:
        return Passed()
    except (ValueError, KeyError, TypeError) as error:
        return _doubtful(path, str(error))
    if phase not in MOVE_PHASES or type(go_passed) is not bool or type(closed) is not bool:
        return _doubtful(path, "a field is not of its type")
    return Passed(phase, go_passed, closed)


def _doubtful(path: Path, why: str) -> Passed:
    """The state of a file that cannot be read: GO may have passed, which is the safe assumption."""
    logger.error("%s cannot be read, so GO may have passed: %s", path, why)
    return Passed("GO", go_passed=True, closed=False)

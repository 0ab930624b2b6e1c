"""What a relay has let pass, on disk before it passes: the point of no return, written down.

Lives here: one small file a move and side. `pass_go` and `close` exclude one another for ever, also over
a kill and a restart: whichever was written first counts. Who asks for them is `relay` and `migrate`.
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
    """One side's file of one move. One process writes it: the agent, under the machine's lock."""

    def __init__(self, directory: Path, job_id: str, side: MoveSide) -> None:
        self._path = directory / f"{job_id}.{side.lower()}.json"
        self._lock = threading.Lock()
        self._passed = _read(self._path)

    @property
    def passed(self) -> Passed:
        return self._passed

    @property
    def is_begun(self) -> bool:
        return self._path.exists()

    def begin(self) -> None:
        """There is a move. Raises OSError."""
        with self._lock:
            self._write()

    def reach(self, phase: MovePhase) -> None:
        """Further along; a phase never goes back. Raises OSError."""
        with self._lock:
            if MOVE_PHASES.index(phase) > MOVE_PHASES.index(self._passed.phase):
                self._write(phase=phase)
        failpoints.reach(f"a move is at {phase}")

    def note(self, phase: MovePhase) -> None:
        """Further along, and on disk with what is written next: nothing is decided by this phase.

        The guest stands still when it is reached, and each flush of a disk prolongs that.
        """
        with self._lock:
            if MOVE_PHASES.index(phase) > MOVE_PHASES.index(self._passed.phase):
                self._passed = dataclasses.replace(self._passed, phase=phase)
        failpoints.reach(f"a move is at {phase}")

    def pass_go(self) -> bool:
        """May GO pass? True: it is written down that it does. Raises OSError: then it may not."""
        failpoints.reach("before GO is written down")
        with self._lock:
            if self._passed.closed or self._passed.go_passed:
                return False
            self._write(phase="GO", go_passed=True)
        failpoints.reach("after GO is written down")
        return True

    def close(self) -> bool:
        """No GO passes from now on. True: none has passed before. Raises OSError: then nothing is sure."""
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
    """What cannot be read may have said that GO passed: nothing is safe then."""
    logger.error("%s cannot be read, so GO may have passed: %s", path, why)
    return Passed("GO", go_passed=True, closed=False)

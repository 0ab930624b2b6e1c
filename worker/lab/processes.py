"""Long-running programs of the portal on one desk: start, find again, stop.

A program is known by its pid and its start time, so a pid the kernel gave to somebody else is
never ended.
"""

import json
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from worker import shell


class NotReady(Exception):
    """A program ended or stayed silent; the text says which log to read."""


@dataclass(frozen=True)
class Desk:
    """The folder where pid files and logs of one portal lie."""

    data: Path

    @property
    def run(self) -> Path:
        return self.data / "run"

    @property
    def logs(self) -> Path:
        return self.data / "logs"

    def make(self) -> None:
        for folder in (self.data, self.run, self.logs):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o700)

    def start(self, name: str, argv: Sequence[str], env: Mapping[str, str]) -> bool:
        """Start a program unless it runs. Answers whether it was started now."""
        if self.is_running(name):
            return False
        log = self.logs / f"{name}.log"
        process = shell.spawn(argv, log_path=log, env=env)
        record = {"pid": process.pid, "started": start_ticks(process.pid), "argv": list(argv)}
        (self.run / f"{name}.json").write_text(json.dumps(record))
        return True

    def is_running(self, name: str) -> bool:
        return self._pid(name) is not None

    def stop(self, name: str, *, grace_seconds: float = 10) -> None:
        """SIGTERM, then SIGKILL after the grace time; then the pid file goes."""
        pid = self._pid(name)
        if pid is not None:
            _end(pid, signal.SIGTERM)
            deadline = time.monotonic() + grace_seconds
            while self._pid(name) is not None and time.monotonic() < deadline:
                time.sleep(0.05)
            if self._pid(name) is not None:
                _end(pid, signal.SIGKILL)
        (self.run / f"{name}.json").unlink(missing_ok=True)

    def names(self) -> list[str]:
        return sorted(path.stem for path in self.run.glob("*.json"))

    def wait(self, what: str, name: str, is_ready: Callable[[], bool], seconds: float) -> None:
        """Wait until `is_ready`. Raises NotReady when the program ends or the time is over."""
        deadline = time.monotonic() + seconds
        while not is_ready():
            if not self.is_running(name):
                raise NotReady(f"{what} ended; its log is {self.logs / name}.log")
            if time.monotonic() > deadline:
                raise NotReady(f"{what} did not answer; its log is {self.logs / name}.log")
            time.sleep(0.1)

    def _pid(self, name: str) -> int | None:
        try:
            record = json.loads((self.run / f"{name}.json").read_text())
            pid = int(record["pid"])
        except (OSError, ValueError, KeyError):
            return None
        _reap(pid)
        started = start_ticks(pid)
        return pid if started and started == record["started"] else None


def keep_secret(path: Path, text: str) -> Path:
    """A file for its owner alone, to be named in an environment instead of what it holds."""
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(f"{text}\n")
    return path


def start_ticks(pid: int) -> int:
    """Start time of a live process in clock ticks since boot (proc(5), field 22); 0: none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    after_name = stat.rpartition(")")[2].split()
    return 0 if after_name[0] == "Z" else int(after_name[19])


def _end(pid: int, sign: signal.Signals) -> None:
    try:
        os.killpg(pid, sign)
    except ProcessLookupError:
        return


def _reap(pid: int) -> None:
    """Collect a child of ours that has ended; somebody else's child is none of our business."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return

"""Long-running programs of the portal on one desk: start, find again, stop.

A program is known by its pid and its start time, so a pid the kernel gave to somebody else is
never ended. One whose starter was killed before it could write that down is known by a mark in its
environment.
"""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from worker import shell
from worker.files import write_durably

#: in the environment of every program of a desk: which part of which desk it is
MARK = "DESK_PROGRAM"


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
        process = shell.spawn(argv, log_path=log, env={**env, MARK: self._mark(name)})
        self._write_down(name, process.pid)
        return True

    def _write_down(self, name: str, pid: int) -> None:
        record = {"pid": pid, "started": start_ticks(pid)}
        write_durably(self.run / f"{name}.json", json.dumps(record).encode())

    def _mark(self, name: str) -> str:
        return f"{self.data}:{name}"

    def find_forgotten(self) -> None:
        """Write down the programs of this desk whose starter was killed before it had done so."""
        for pid, mark in _marked():
            data, _, name = mark.rpartition(":")
            if data == str(self.data) and not self.is_running(name):
                self._write_down(name, pid)

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
    write_durably(path, f"{text}\n".encode())
    return path


def read_or_make(path: Path, make: Callable[[], str]) -> str:
    """The text of a private file that is made once, whole or not at all; an empty one is made again."""
    try:
        found = path.read_text().strip()
    except FileNotFoundError:
        found = ""
    if not found:
        found = make()
        write_durably(path, found.encode())
    return found


def _marked() -> Iterator[tuple[int, str]]:
    """(pid, mark) of every program that leads a session and carries a desk's mark."""
    for folder in Path("/proc").glob("[0-9]*"):
        pid = int(folder.name)
        try:
            if os.getsid(pid) != pid:
                continue  # a child of one
            words = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue  # it has ended, or is another user's
        for word in words:
            if word.startswith(f"{MARK}=".encode()):
                yield pid, os.fsdecode(word.partition(b"=")[2])


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

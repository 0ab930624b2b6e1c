"""The long-running programs of one development portal: starts, finds and stops them.

A program is identified by its pid and start time, so that a reused pid is never killed. A program whose
starter was killed before it could write these down is found by a variable in its environment.
"""

import functools
import hashlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worker import shell
from worker.files import write_durably

#: environment variable of every program of a portal: its data folder and name
MARK = "DESK_PROGRAM"
#: what the programs of a desk are made of
ROOT = Path(__file__).resolve().parents[2]
CODE, CODE_SUFFIXES = ("webxen", "worker", "devtools"), frozenset({".py", ".html", ".mo"})


class NotReady(Exception):
    """A program ended or did not answer; the text says which log to read."""


@dataclass(frozen=True)
class Desk:
    """The folder with the pid files and logs of one portal."""

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
        """Start a program unless it runs. Returns whether it was started now."""
        if self.is_running(name):
            return False
        log = self.logs / f"{name}.log"
        process = shell.spawn(argv, log_path=log, env={**env, MARK: self._mark(name)})
        self._write_down(name, process.pid)
        return True

    def _write_down(self, name: str, pid: int) -> None:
        record = {"pid": pid, "started": start_ticks(pid), "code": code_version()}
        write_durably(self.run / f"{name}.json", json.dumps(record).encode())

    def _mark(self, name: str) -> str:
        return f"{self.data}:{name}"

    def find_forgotten(self) -> None:
        """Write pid files for programs of this portal whose starter was killed before it had done so."""
        for pid, mark in _marked():
            data, _, name = mark.rpartition(":")
            if data == str(self.data) and not self.is_running(name):
                self._write_down(name, pid)

    def stop_outdated(self) -> list[str]:
        """Stop the programs whose code has changed since they were started; their names.

        Without this `make up` after an update would go on with the old code. The broker is not ours.
        """
        outdated = [
            name
            for name in self.names()
            if name != "broker" and self.is_running(name) and self._record(name).get("code") != code_version()
        ]
        for name in outdated:
            self.stop(name)
        return outdated

    def is_running(self, name: str) -> bool:
        return self._pid(name) is not None

    def stop(self, name: str, *, grace_seconds: float = 10) -> None:
        """Send SIGTERM, and SIGKILL after the grace time. Then remove the pid file."""
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
        record = self._record(name)
        try:
            pid = int(record["pid"])
        except (ValueError, KeyError):
            return None
        _reap(pid)
        started = start_ticks(pid)
        return pid if started and started == record.get("started") else None

    def _record(self, name: str) -> dict[str, Any]:
        try:
            record: dict[str, Any] = json.loads((self.run / f"{name}.json").read_text())
        except (OSError, ValueError):
            return {}
        return record


@functools.cache
def code_version() -> str:
    """A digest that changes when a file of the portal or of the worker does (its path, size or time)."""
    digest = hashlib.sha256()
    for room in CODE:
        for path in sorted((ROOT / room).rglob("*")):
            if path.suffix in CODE_SUFFIXES:
                status = path.stat()
                digest.update(f"{path}:{status.st_size}:{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def keep_secret(path: Path, text: str) -> Path:
    """Write a file that only its owner can read. Returns its path, which may be put into an environment."""
    write_durably(path, f"{text}\n".encode())
    return path


def read_or_make(path: Path, make: Callable[[], str]) -> str:
    """The text of a private file, which is created atomically if it is missing or empty."""
    try:
        found = path.read_text().strip()
    except FileNotFoundError:
        found = ""
    if not found:
        found = make()
        write_durably(path, found.encode())
    return found


def _marked() -> Iterator[tuple[int, str]]:
    """(pid, mark) of every session leader whose environment has a mark."""
    for folder in Path("/proc").glob("[0-9]*"):
        pid = int(folder.name)
        try:
            if os.getsid(pid) != pid:
                continue  # a child of one
            words = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue  # it has ended, or belongs to another user
        for word in words:
            if word.startswith(f"{MARK}=".encode()):
                yield pid, os.fsdecode(word.partition(b"=")[2])


def start_ticks(pid: int) -> int:
    """Start time of a live process in clock ticks since boot (proc(5), field 22); 0 if there is none."""
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
    """Reap the process if it is a child of this one that has ended."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return

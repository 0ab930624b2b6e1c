"""The domains of the stand-in host: state.json under a lock, and the processes of the domains.

Reads and writes the state, and ends recorded processes. A domain whose process has gone is removed from the
list at the next read, as after a power cut.
"""

import dataclasses
import fcntl
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from devtools.fakexl import recording


@dataclass
class Domain:
    """A domain as the stand-in stores it."""

    domid: int
    uuid: str
    name: str
    type: str
    memory_mib: int
    maxmem_mib: int
    vcpus: int
    keys: dict[str, Any]
    #: target, vdev and writability of each disk
    disks: list[list[Any]] = field(default_factory=list)
    pid: int = 0
    #: start time of that process, to detect a reused pid
    pid_start: str = ""
    tty: str = ""
    #: number of pauses: Xen counts them and needs as many unpauses
    pauses: int = 0
    #: "" while it runs, else the letter of xl's State column: - r s c
    shutdown_letter: str = ""
    #: it arrived paused from another host, or was saved: it does not run until it is unpaused
    is_asleep: bool = False
    started_at: float = 0.0

    @property
    def is_paused(self) -> bool:
        return self.pauses > 0


@dataclass
class State:
    next_domid: int = 1
    domains: dict[int, Domain] = field(default_factory=dict)

    def by_name(self, name: str) -> Domain | None:
        return next((domain for domain in self.domains.values() if domain.name == name), None)

    def take_domid(self) -> int:
        domid = self.next_domid
        self.next_domid += 1
        return domid


class Store:
    """state.json in a directory, changed only under its lock."""

    def __init__(self, directory: Path, host: str) -> None:
        self.directory = directory
        self.host = host

    @contextmanager
    def locked(self) -> Iterator[State]:
        fd = os.open(self.directory / "state.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            before, state = self._read()
            self._drop_the_dead(state)
            yield state
            self._write(state, before)
        finally:
            # A domain forked meanwhile shares this lock until it closes its copy, so it is released
            # explicitly.
            fcntl.flock(fd, fcntl.LOCK_UN)
            os.close(fd)

    def started(self, state: State, domain: Domain) -> None:
        """Add a domain to the list and record that it runs."""
        domain.started_at = time.time()
        state.domains[domain.domid] = domain
        self._record(domain, "START")
        self.ring("@introduceDomain")

    def added(self, state: State, domain: Domain) -> None:
        """Add a domain that does not run yet to the list."""
        domain.started_at = time.time()
        state.domains[domain.domid] = domain
        self.ring("@introduceDomain")

    def woken(self, domain: Domain) -> None:
        """Record that a listed domain runs from now on, unless it is paused or shut down."""
        if not domain.is_paused and not domain.shutdown_letter:
            domain.is_asleep = False
            self._record(domain, "START")

    def stopped(self, state: State, domain: Domain) -> None:
        """Record that a domain has ended and remove it from the list."""
        if state.domains.pop(domain.domid, None) is not None:
            if not domain.shutdown_letter and not domain.is_asleep:
                self._record(domain, "STOP")
            self.ring("@releaseDomain")

    def halted(self, domain: Domain, letter: str) -> None:
        """Record that the guest has ended while its domain is still listed."""
        domain.shutdown_letter = letter
        self._record(domain, "STOP")
        self.ring("@releaseDomain")

    def ring(self, what: str) -> None:
        """Notify xenstore watches."""
        with (self.directory / "events").open("a") as events:
            events.write(what + "\n")

    def _record(self, domain: Domain, event: Any) -> None:
        recording.record(
            self.directory,
            host=self.host,
            uuid=domain.uuid,
            name=domain.name,
            domid=domain.domid,
            event=event,
        )

    def _drop_the_dead(self, state: State) -> None:
        for domain in list(state.domains.values()):
            if not is_alive(domain.pid, domain.pid_start):
                self.stopped(state, domain)

    def _read(self) -> tuple[str, State]:
        try:
            text = (self.directory / "state.json").read_text()
        except FileNotFoundError:
            return "", State()
        data = json.loads(text)
        names = {field.name for field in dataclasses.fields(Domain)}
        domains = {
            int(domid): Domain(**{name: value for name, value in known.items() if name in names})
            for domid, known in data["domains"].items()
        }
        return text, State(data["next_domid"], domains)

    def _write(self, state: State, before: str) -> None:
        text = json.dumps(dataclasses.asdict(state))
        if text != before:
            fresh = self.directory / f".state.{os.getpid()}"
            fresh.write_text(text)
            fresh.replace(self.directory / "state.json")


# --- processes ---------------------------------------------------------------------------------


def process_start(pid: int) -> str:
    """Start time of a process in clock ticks since boot; "" if there is none or it is a zombie."""
    fields = _stat(pid)
    return "" if not fields or fields[0] in {"Z", "X"} else fields[19]


def cpu_seconds(pid: int) -> float:
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") if fields else 0.0


def is_alive(pid: int, pid_start: str) -> bool:
    return bool(pid_start) and process_start(pid) == pid_start


def end_process(pid: int, pid_start: str) -> None:
    """Kill a domain's process, unless its pid was reused."""
    if is_alive(pid, pid_start):
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 5
        while is_alive(pid, pid_start) and time.monotonic() < deadline:
            time.sleep(0.002)


def _stat(pid: int) -> list[str]:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text.rpartition(")")[2].split()


def kill_all(directory: Path) -> list[int]:
    """Kill every domain process of a stand-in host, also those between two domains, like a power cut."""
    ended = []
    for mark in sorted((directory / "pids").glob("*")):
        pid, pid_start = int(mark.name), mark.read_text()
        if is_alive(pid, pid_start):
            end_process(pid, pid_start)
            ended.append(pid)
        mark.unlink(missing_ok=True)
    return ended

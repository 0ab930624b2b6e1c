"""Fixtures of the console service: a simulated xenstore, guests as pseudo-terminals, a real Redis."""

import contextlib
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
import tty
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import redis

from worker.contract import console_in_key, console_out_key, console_state_key

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]
HOST = "xen1"
SCRIPTS = {
    "xenstore-list": 'echo >>"$STORE/asked"; ls -1 "$STORE$1"',
    "xenstore-read": 'for path in "$@"; do cat "$STORE$path" || exit 1; echo; done',
    "xenstore-watch": 'case $1 in @*) exec tail -n 1 -F "$STORE/bell";; esac; exec tail -n 1 -F "$STORE$1"',
}


def wait_for(look: Callable[[], T | None], what: str, seconds: float = 15) -> T:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"waited {seconds} s for {what}")


class Broker:
    """A redis-server on a unix socket."""

    def __init__(self, directory: Path) -> None:
        self.socket = directory / "redis.sock"
        self.url = f"unix://{self.socket}"
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        program = shutil.which("redis-server") or shutil.which("valkey-server")
        assert program, "these tests need redis-server"
        argv = [program, "--port", "0", "--unixsocket", str(self.socket), "--save", "", "--appendonly", "yes"]
        self._process = subprocess.Popen(
            [*argv, "--dir", str(self._directory), "--loglevel", "warning"], stdout=subprocess.DEVNULL
        )
        wait_for(self.is_up, "redis-server")

    def is_up(self) -> bool:
        with contextlib.suppress(redis.RedisError), self.client() as client:
            return bool(client.ping())
        return False

    def client(self) -> redis.Redis:
        return redis.Redis(unix_socket_path=str(self.socket), protocol=2)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def open_pty_at(device: str) -> tuple[int, int]:
    """A pseudo-terminal of exactly this name, which concurrent tests may occupy."""

    def attempt() -> tuple[int, int] | None:
        master, slave = pty.openpty()
        if os.ttyname(slave) == device:
            return master, slave
        os.close(slave)
        os.close(master)
        return None

    return wait_for(attempt, f"{device} to be free", seconds=60)


class Guest:
    """A domain: the end of a pseudo-terminal that xenconsoled would hold."""

    def __init__(self, host: "ConsoleHost", machine_id: str, domid: int, device: str | None = None) -> None:
        self._host, self.machine_id, self.domid = host, machine_id, domid
        self.master, self._slave = open_pty_at(device) if device else pty.openpty()
        tty.setraw(self._slave)
        self.device = os.ttyname(self._slave)
        host.write(f"/local/domain/{domid}/vm", f"/vm/{machine_id}")
        host.write(f"/local/domain/{domid}/console/tty", self.device)
        host.ring()

    def prints(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self.master, view) :]

    def hears(self, size: int, seconds: float = 10) -> bytes:
        heard = b""
        os.set_blocking(self.master, False)
        deadline = time.monotonic() + seconds
        while len(heard) < size and time.monotonic() < deadline:
            with contextlib.suppress(BlockingIOError):
                heard += os.read(self.master, size - len(heard))
                continue
            time.sleep(0.01)
        os.set_blocking(self.master, True)
        return heard

    def ends(self, *, is_entry_left: bool = False) -> None:
        if not is_entry_left:
            shutil.rmtree(self._host.store / f"local/domain/{self.domid}")
        self.close()
        self._host.ring()

    def close(self) -> None:
        for fd in (self.master, self._slave):
            with contextlib.suppress(OSError):
                os.close(fd)


class ConsoleHost:
    """A dom0 as the console service sees it."""

    def __init__(self, directory: Path, broker: Broker, name: str = HOST) -> None:
        self.name = name
        self.state_dir = directory / "state"
        self.store = directory / "store"
        self.programs = directory / "programs"
        self.broker = broker
        self._process: subprocess.Popen[bytes] | None = None
        self.log_file = directory / "consoled.log"
        self._guests: list[Guest] = []
        self.programs.mkdir()
        (self.store / "local/domain/0").mkdir(parents=True)
        for program, body in SCRIPTS.items():
            script = self.programs / program
            script.write_text(f"#!/bin/sh\nSTORE='{self.store}'\n{body}\n")
            script.chmod(0o755)
        self.ring()

    def machine(self) -> str:
        machine_id = str(uuid.uuid4())
        (self.state_dir / "machines" / machine_id).mkdir(parents=True)
        return machine_id

    def boot(self, machine_id: str, domid: int, device: str | None = None) -> Guest:
        guest = Guest(self, machine_id, domid, device)
        self._guests.append(guest)
        return guest

    def write(self, path: str, value: str) -> None:
        file = self.store / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(value)

    def times_asked(self) -> int:
        """Number of times the list of domains was read."""
        return (self.store / "asked").stat().st_size

    def ring(self) -> None:
        with (self.store / "bell").open("a") as bell:
            bell.write("@domain\n")

    def start(self) -> None:
        env = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "WEBXEN_HOST": self.name,
            "WEBXEN_BROKER_URL": self.broker.url,
            "WEBXEN_STATE_DIR": str(self.state_dir),
            "WEBXEN_XENSTORE_DIR": str(self.programs),
        }
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "worker.console.daemon"], env=env, stdout=log, stderr=log, cwd="/"
            )

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        return self._end(signal.SIGTERM)

    def _end(self, number: int) -> int:
        if self._process is None:
            return 0
        self._process.send_signal(number)
        rc = self._process.wait(20)
        self._process = None
        return rc

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def close(self) -> None:
        self.kill()
        for guest in self._guests:
            guest.close()
        self.ring()

    # output of the service

    def state(self, machine_id: str) -> dict[str, str]:
        with self.broker.client() as client:
            facts = client.hgetall(console_state_key(self.name, machine_id))
        return {key.decode(): value.decode() for key, value in facts.items()}

    def is_serving(self) -> bool:
        """Wait until it handles SIGTERM (proc(5), SigCgt): the state in Redis may be its predecessor's."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        caught = next(line.split()[1] for line in lines if line.startswith("SigCgt:"))
        return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)

    def wait_attached(self, machine_id: str) -> None:
        wait_for(self.is_serving, "the service")
        wait_for(lambda: self.state(machine_id).get("state") == "attached", "the console to be attached")

    def pieces(self, machine_id: str) -> Iterator[tuple[int, bytes]]:
        with self.broker.client() as client:
            entries = client.xrange(console_out_key(self.name, machine_id))
        for _, fields in entries:
            if b"d" in fields:
                yield int(fields[b"o"]), fields[b"d"]

    def published(self, machine_id: str) -> bytes:
        """Return all bytes of the stream; missing or duplicate bytes are an error."""
        data, at = b"", None
        for offset, piece in self.pieces(machine_id):
            assert at is None or offset == at, f"the stream jumps from {at} to {offset}"
            data, at = data + piece, offset + len(piece)
        return data

    def log_of(self, machine_id: str) -> bytes:
        path = self.state_dir / "console" / f"{machine_id}.log"
        return path.read_bytes() if path.exists() else b""

    def types(self, machine_id: str, data: bytes) -> None:
        with self.broker.client() as client:
            client.xadd(console_in_key(self.name, machine_id), {"d": data})

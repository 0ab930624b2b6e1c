"""Suspended migration: `xl save` into the relay, `xl restore` out of it, with xl's own handshake.

The two ends behave towards the relay as `xl migrate` and `xl migrate-receive` do, so that one relay serves
both kinds of migration. The guest is paused on the source from the first byte, and destroyed there when the
target reported that it runs.
"""

import errno
import logging
import os
import select
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from worker import failpoints, shell
from worker.contract import Order
from worker.migration import session
from worker.migration.facts import Move, domains_of, own
from worker.relay import gate
from worker.relay.gate import TICK_SECONDS
from worker.relay.xl_stream import BANNER, GO, READY, REPORT, DomainStream
from worker.xen import xl

logger = logging.getLogger(__name__)

CHUNK = 1 << 18


class Over(Exception):
    """The relay closed the connection, or xl failed."""


def wide_pipe() -> tuple[int, int]:
    """A pipe with a large buffer: fewer context switches for the same number of bytes.

    Returns (read, write).
    """
    reading, writing = os.pipe()
    gate.widen(writing)
    return reading, writing


def _fifo(move: Move[Order]) -> Path:
    return move.path("pipe") / "fifo"


def release(move: Move[Order]) -> None:
    """Remove the named pipe, and release a process that is blocked in opening it.

    An xl may be left that waits for the other end, or that has not opened the pipe yet. The pipe has a
    directory of its own, so that a late `xl save` fails: otherwise it would create a regular file of that
    name, save the guest into it and leave it suspended.
    """
    fifo = _fifo(move)
    try:
        both_ends = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
    except FileNotFoundError:
        pass
    else:
        fifo.unlink(missing_ok=True)
        os.close(both_ends)
    with suppress(FileNotFoundError):
        fifo.parent.rmdir()


class End(ABC):
    """What both ends have: pipes to the relay, a thread, a named pipe for xl."""

    def __init__(self, move: Move[Order]) -> None:
        self.move = move
        self.from_relay, relay_writes = wide_pipe()
        relay_reads, self.to_relay = wide_pipe()
        #: for `gate.RelayPipes`: from xl, to xl
        self.ways = (relay_reads, relay_writes)
        self._thread = threading.Thread(target=self._guard, name="suspended", daemon=True)

    def start(self) -> None:
        """Start the thread of this end."""
        self._thread.start()

    def wait(self, seconds: float) -> int | None:
        """Wait at most this many seconds. Returns 0 once the thread has ended, else None."""
        self._thread.join(seconds)
        return None if self._thread.is_alive() else 0

    def _guard(self) -> None:
        try:
            self._run()
        except (Over, OSError, xl.XlError) as error:
            logger.warning("a suspended move is broken off: %s", error)
        finally:
            os.close(self.from_relay)
            os.close(self.to_relay)
            release(self.move)

    @abstractmethod
    def _run(self) -> None:
        """This end's part of the protocol, from the banner to the last reply."""

    @property
    def fifo(self) -> Path:
        return _fifo(self.move)

    def _begin(self, make_argv: Callable[[], list[str]]) -> Callable[[float], int | None]:
        self.fifo.parent.mkdir(mode=0o700)
        os.mkfifo(self.fifo, 0o600)
        process = session.start_xl(self.move, make_argv())
        return lambda seconds: shell.ended(process, timeout_seconds=seconds)

    def read(self, size: int) -> bytes:
        """Some bytes from the relay. Raises Over when it closed the connection."""
        piece = os.read(self.from_relay, size)
        if not piece:
            raise Over("the relay has hung up")
        return piece

    def has_hung_up(self) -> bool:
        """Whether the relay closed its end of the pipe."""
        poll = select.poll()
        poll.register(self.from_relay, 0)
        return bool(poll.poll(0))

    def expect(self, text: bytes) -> None:
        """Read this message from the relay. Raises Over for anything else."""
        held = b""
        while len(held) < len(text):
            held += self.read(len(text) - len(held))
        if held != text:
            raise Over("the other side says something else than it should")

    def write(self, fd: int, data: bytes) -> None:
        """Write all bytes. Raises OSError."""
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]


class Sender(End):
    """The source: plays `xl migrate` by means of `xl save -p`."""

    def __init__(self, move: Move[Order], domain: xl.Domain) -> None:
        super().__init__(move)
        self._domain = domain

    def _run(self) -> None:
        host = self.move.dom0.xl
        self.expect(BANNER)
        ended = self._begin(lambda: host.save(self._domain.domid, self.fifo))
        failpoints.reach("xl save has begun")
        self._carry(ended)
        if ended(TICK_SECONDS * 100) != 0:
            raise Over("xl could not save the machine")
        self.expect(READY)
        self.write(self.to_relay, GO)
        self.expect(REPORT)
        if self.read(1) == b"\0":
            failpoints.reach("before the source destroys")
            host.destroy(self._domain.domid)
        else:
            self.expect(GO)
            host.unpause(self._domain.domid)

    def _carry(self, ended: Callable[[float], int | None]) -> None:
        fifo = os.open(self.fifo, os.O_RDONLY | os.O_NONBLOCK)
        try:
            poll = select.poll()
            poll.register(fifo, select.POLLIN)
            while True:
                if poll.poll(TICK_SECONDS * 1000):
                    piece = os.read(fifo, CHUNK)
                    if not piece:
                        return
                    self.write(self.to_relay, piece)
                elif ended(0.0) is not None:
                    return  # xl never opened the pipe
        finally:
            os.close(fifo)


class Receiver(End):
    """The target: plays `xl migrate-receive` by means of `xl restore -p`."""

    def _run(self) -> None:
        move = self.move
        self.write(self.to_relay, BANNER)
        ended = self._begin(lambda: move.dom0.xl.restore(self.fifo))
        failpoints.reach("xl restore has begun")
        fifo = self._open(ended)
        try:
            self._carry(fifo)
        finally:
            os.close(fifo)
        while (code := ended(TICK_SECONDS)) is None:
            pass
        if code != 0:
            raise Over("xl could not restore the machine")
        self.write(self.to_relay, READY)
        self.expect(GO)
        domain = own(domains_of(move.dom0, move.machine), move.machine)
        if domain is None:
            raise Over("the restored machine is gone")
        failpoints.reach("before the target unpauses")
        # An error here does not prove that it does not run: then no report is sent, and both hosts are looked
        # at.
        move.dom0.xl.unpause(domain.domid)
        self.write(self.to_relay, REPORT + b"\0")

    def _open(self, ended: Callable[[float], int | None]) -> int:
        while True:
            try:
                fifo = os.open(self.fifo, os.O_WRONLY | os.O_NONBLOCK)
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
            else:
                os.set_blocking(fifo, True)
                return fifo
            if ended(0.0) is not None:
                raise Over("xl did not begin to restore")
            time.sleep(TICK_SECONDS / 10)

    def _carry(self, fifo: int) -> None:
        """Copy exactly the domain to xl; what follows it is not for xl."""
        stream = DomainStream()
        while not stream.is_ended:
            piece = self.read(min(stream.due, CHUNK))
            stream.feed(piece)
            self.write(fifo, piece)

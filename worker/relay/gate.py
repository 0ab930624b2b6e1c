"""The relay of one migration: copies bytes between this host's xl and the other host, and holds GO back.

Two threads copy; GO passes at most once. The relay also measures the progress, and stops a migration so that
xl resumes its guest by itself. It runs in the agent, opens no network connection (`relay_client` provides the
socket to the other host), and draws no conclusions about domains.
"""

import contextlib
import fcntl
import logging
import os
import select
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from worker.contract import MIB, MovePhase, MoveSide
from worker.errors import WorkerError
from worker.relay import zero_runs
from worker.relay.journal import MoveJournal
from worker.relay.stream_parser import BadStream, IncrementalParser
from worker.relay.xl_stream import GO, REPORT, DomainStream, Go, Replies

logger = logging.getLogger(__name__)

#: below the size from which the C library maps fresh pages for each allocation (mallopt(3))
CHUNK = 1 << 16
WIDE_BYTES = 1 << 20
TICK_SECONDS = 0.2
#: time for xl to send GO after READY; when stopped in between, GO is awaited so that xl can be told to resume
GO_SECONDS = 20.0


class _RelayClosed(Exception):
    """This direction has ended or was stopped."""


@dataclass(frozen=True)
class RelayPipes:
    """The file descriptors between which bytes are copied. The relay owns and closes them."""

    from_xl: int
    to_xl: int
    peer: socket.socket


def widen(pipe: int) -> None:
    """Give a pipe a large buffer: fewer context switches for the same number of bytes."""
    with contextlib.suppress(OSError):  # above a limit of the system; the pipe keeps its size
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, WIDE_BYTES)


def _widen(ways: RelayPipes) -> None:
    """Enlarge the buffers: fewer context switches for the same number of bytes."""
    widen(ways.from_xl)
    widen(ways.to_xl)
    for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        ways.peer.setsockopt(socket.SOL_SOCKET, option, WIDE_BYTES)


def _nothing() -> None:
    """The default hook: nothing to do where other hosts do not see the disks."""


@dataclass(frozen=True)
class TransferHooks:
    """Hooks called after a step is journalled and before it is forwarded.

    If a hook raises a WorkerError, the step is not forwarded and the migration is stopped.
    """

    #: target: GO is journalled and not yet forwarded to xl
    before_go: Callable[[], None] = _nothing
    #: either side: the target failed after GO, and the source may resume the guest
    before_giving_back: Callable[[], None] = _nothing


@dataclass(frozen=True)
class Progress:
    """The progress at one moment."""

    bytes_sent: int = 0
    passes: int = 0
    rate_mib_s: float = 0.0
    blackout_ms: int = -1
    kind: str = ""
    seconds: float = 0.0


class Relay:
    """One migration on one host, from the first byte to the report."""

    def __init__(
        self,
        ways: RelayPipes,
        journal: MoveJournal,
        *,
        side: MoveSide,
        rate_mib_s: int = 0,
        hands: TransferHooks | None = None,
        stream: IncrementalParser | None = None,
    ) -> None:
        self._ways, self._journal, self._side = ways, journal, side
        self._hands = hands or TransferHooks()
        self._rate_bytes = rate_mib_s * MIB
        self._stream: IncrementalParser = stream or DomainStream()
        self._go, self._replies = Go(), Replies()
        self._stopping = threading.Event()
        self._is_ready = False
        #: whether the report was good; None if no report was seen
        self.is_good: bool | None = None
        #: the target failed after GO, destroyed its copy and reported that
        self.is_given_back = False
        #: why the migration was stopped, for the log and the owner
        self.why = ""
        self._began = time.monotonic()
        self._pass_began = self._began
        self._blackout_ms = -1
        _widen(ways)
        for fd in (ways.from_xl, ways.to_xl, ways.peer.fileno()):
            os.set_blocking(fd, False)
        self._polls: dict[tuple[int, int], select.poll] = {}
        self._lock, self._open_ways = threading.Lock(), 2
        self._threads = [
            threading.Thread(target=self._guard, args=(way,), name=f"relay-{side.lower()}", daemon=True)
            for way in (self._carry_down, self._carry_up)
        ]

    def start(self) -> None:
        """Start copying. Raises OSError."""
        self._journal.reach("CONNECTED")
        for thread in self._threads:
            thread.start()

    def wait(self, seconds: float) -> bool:
        """Wait up to this many seconds. Returns whether the relay has ended."""
        until = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def stop(self, why: str) -> bool:
        """Stop the migration. Returns True if GO has not passed and never will. Raises OSError."""
        self.why = self.why or why
        is_safe = self._journal.close()
        if is_safe:
            self._stopping.set()
        return is_safe

    def abandon(self, why: str) -> None:
        """Stop waiting for the other side. After GO the outcome is then unknown on this host."""
        self.why = self.why or why
        self._stopping.set()

    def progress(self) -> Progress:
        """The progress now."""
        seconds = max(0.001, time.monotonic() - self._began)
        stream = self._stream
        return Progress(
            bytes_sent=stream.bytes,
            passes=stream.passes,
            rate_mib_s=round(stream.bytes / MIB / seconds, 3),
            blackout_ms=self._blackout_ms,
            kind=stream.kind,
            seconds=seconds,
        )

    @property
    def is_all_there(self) -> bool:
        """The whole domain has passed. READY, GO and the report are still to come."""
        return self._stream.is_ended

    @property
    def phase(self) -> MovePhase:
        """The phase in this side's journal."""
        return self._journal.passed.phase

    # --- the two directions --------------------------------------------------------------------

    def _guard(self, carry: Callable[[], None]) -> None:
        try:
            carry()
        except _RelayClosed as over:
            self.why = self.why or str(over)
        except (BadStream, OSError, WorkerError) as error:
            logger.warning("a move is broken off: %s", error)
            self.why = self.why or str(error)
        try:
            self._journal.close()
        except OSError as error:
            logger.error("a move cannot be closed on disk, so its end is not known: %s", error)
        # One direction is of no use without the other: it ends within a tick, and the last to end cleans up.
        self._stopping.set()
        with self._lock:
            self._open_ways -= 1
            is_last = self._open_ways == 0
        if is_last:
            self._hang_up()

    def _carry_down(self) -> None:
        """Copy from the source to the target: the domain, then GO."""
        if self._side == "SOURCE":
            while True:
                self._carry_on(self._read_some(self._ways.from_xl))
        unpacker = zero_runs.Unpacker()
        while True:
            for data in unpacker.feed(self._read_some(self._ways.peer.fileno())):
                self._carry_on(data)

    def _read_some(self, source: int) -> bytes:
        data = self._read(source)
        if not data:
            raise _RelayClosed("the source has hung up")
        return data

    def _carry_on(self, data: bytes) -> None:
        size = 0
        if not self._stream.is_ended:
            size = self._pass_domain(data)
            self._hand_down(data[:size])
        if size < len(data) and self._go.feed(data[size:]):
            self._pass_go()

    def _hand_down(self, data: bytes, *, is_final: bool = False) -> None:
        if self._side == "SOURCE":
            self._write(self._ways.peer.fileno(), zero_runs.pack(data), is_final=is_final)
        else:
            self._write(self._ways.to_xl, data, is_final=is_final)

    def _pass_domain(self, data: bytes) -> int:
        passes = self._stream.passes
        size = self._stream.feed(data)
        if self._stream.passes != passes:
            self._pass_began = time.monotonic()
        if self._stream.bytes == size:
            self._journal.reach("STREAM")
        self._brake()
        return size

    def _brake(self) -> None:
        """Limit the rate to the ordered one."""
        if self._rate_bytes and self._side == "SOURCE":
            due = self._began + self._stream.bytes / self._rate_bytes
            self._stopping.wait(max(0.0, due - time.monotonic()))

    def _pass_go(self) -> None:
        if not self._is_ready:
            raise BadStream("GO came before the target was ready")
        if not self._journal.pass_go():
            raise _RelayClosed(self.why or "it was broken off before GO")
        self._hands.before_go()
        self._hand_down(GO, is_final=True)

    def _carry_up(self) -> None:
        """Copy from the target to the source: READY, then the report."""
        is_source = self._side == "SOURCE"
        source = self._ways.peer.fileno() if is_source else self._ways.from_xl
        target = self._ways.to_xl if is_source else self._ways.peer.fileno()
        while True:
            data = self._read(source)
            if not data:
                raise _RelayClosed("the target has hung up")
            for reply in self._replies.feed(data):
                if reply.word == "READY":
                    if not self._stream.is_ended:
                        raise BadStream("the target is ready before the domain has come to its end")
                    self._journal.note("READY")
                    self._is_ready = True
                elif reply.word == "REPORT":
                    self._note_report(is_good=reply.is_good)
                elif reply.word == "GIVEN_BACK":
                    self._hands.before_giving_back()
                    self.is_given_back = True
                self._write(target, reply.text)

    def _note_report(self, *, is_good: bool) -> None:
        self.is_good = is_good
        if is_good:
            self._blackout_ms = round((time.monotonic() - self._pass_began) * 1000)
            self._journal.reach("REPORTED")

    # --- the end -------------------------------------------------------------------------------

    def _hang_up(self) -> None:
        passed = self._journal.passed
        try:
            if self._side == "SOURCE" and self._is_ready and passed.closed and not passed.go_passed:
                self._take_back()
        except (BadStream, OSError) as error:
            logger.warning("xl could not be told to take its guest back: %s", error)
        finally:
            os.close(self._ways.from_xl)
            os.close(self._ways.to_xl)
            self._ways.peer.close()

    def _take_back(self) -> None:
        """Tell the source's xl, with the target's messages, to resume its guest.

        It has received READY, so it renames the domain and sends GO. Without an answer it would leave the
        guest suspended under another name. This GO is read here and not forwarded.
        """
        poll = select.poll()
        poll.register(self._ways.from_xl, select.POLLIN)
        until = time.monotonic() + GO_SECONDS
        while not self._go.is_whole and time.monotonic() < until:
            if poll.poll(TICK_SECONDS * 1000):
                data = os.read(self._ways.from_xl, len(GO))
                if not data:
                    return
                self._go.feed(data)
        self._write(self._ways.to_xl, REPORT + b"\x01" + GO, is_final=True)

    # --- bytes ---------------------------------------------------------------------------------

    def _poll(self, fd: int, events: int) -> select.poll:
        """A poll object per descriptor and direction, created once because it is used for every read and
        write.
        """
        found = self._polls.get((fd, events))
        if found is None:
            found = self._polls[fd, events] = select.poll()
            found.register(fd, events)
        return found

    def _read(self, fd: int) -> bytes:
        """Some bytes, or none at the end of the stream. Raises _RelayClosed when stopped."""
        poll = self._poll(fd, select.POLLIN)
        while not poll.poll(TICK_SECONDS * 1000):
            if self._stopping.is_set():
                raise _RelayClosed(self.why)
        if self._stopping.is_set():
            raise _RelayClosed(self.why)
        return os.read(fd, CHUNK)

    def _write(self, fd: int, data: bytes, *, is_final: bool = False) -> None:
        poll = self._poll(fd, select.POLLOUT)
        view = memoryview(data)
        while view:
            if not poll.poll(TICK_SECONDS * 1000):
                # What is journalled as passed is written to the end, even after a stop.
                if self._stopping.is_set() and not is_final:
                    raise _RelayClosed(self.why)
                continue
            try:
                view = view[os.write(fd, view) :]
            except BlockingIOError:
                continue

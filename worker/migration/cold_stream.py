"""The two ends of a cold migration: towards the relay they behave as `xl migrate` and `xl migrate-receive`.

Decides what is sent and received, and when. One disk is `disk_copy`; checks, starts and removals are in
`cold`.
"""

import contextlib
import errno
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from worker import errors, failpoints, storage
from worker.contract import MIB, DiskSpec, MigrateMachine, Order, ReceiveMachine
from worker.files import write_durably
from worker.guest import machine_files
from worker.job.context import HostContext
from worker.migration import disk_copy
from worker.migration.facts import Move, domains_of, own
from worker.migration.suspended import End, Over
from worker.relay.disk_stream import (
    BLOCK,
    DATA,
    END,
    MAX_SEED,
    RECORD,
    SEED,
    SUM,
    Header,
    Item,
    Reader,
    write_header,
)
from worker.relay.gate import TICK_SECONDS
from worker.relay.stream_parser import BadStream
from worker.relay.xl_stream import BANNER, GO, READY, REPORT

#: most passes over the disks while the machine runs …
MAX_PASSES = 4
#: … and no further pass when the last one sent this little: the shutdown takes longer than the rest
SMALL_BYTES = 32 << 20


def copied_of(order: MigrateMachine | ReceiveMachine) -> tuple[DiskSpec, ...]:
    """The disks that are copied, in the machine's order."""
    return tuple(disk for disk in order.machine.disks if disk.id in order.copied)


class Sender(End):
    """The source: plays `xl migrate`, with disks in place of a domain.

    While the machine runs, its disks are copied in several passes, as long as each sends much less than the
    one before. Then it waits for `go_on`, and sends what has changed since.
    """

    def __init__(self, move: Move[Order], order: MigrateMachine) -> None:
        super().__init__(move)
        self._order = order
        self._has_copied, self._is_off = threading.Event(), threading.Event()
        if not order.restarts:
            self._is_off.set()

    @property
    def has_copied(self) -> bool:
        """Whether the passes made while the machine runs are complete."""
        return self._has_copied.is_set()

    def go_on(self) -> None:
        """Tell the sender that the machine is off."""
        self._is_off.set()

    def _run(self) -> None:
        with _told(self.move):
            self.expect(BANNER)
            self._send_disks()
            self.expect(READY)
            if own(domains_of(self.move.dom0, self.move.machine), self.move.machine) is not None:
                raise errors.MoveFailed("STARTED_WHILE_COPIED")
            self.write(self.to_relay, GO)
            self.expect(REPORT)
            self.read(1)

    def _send_disks(self) -> None:
        move = self.move
        places = {disk.id: _path(move.dom0, move.machine.id, disk) for disk in copied_of(self._order)}
        seed = machine_files.seed_iso(move.dom0.settings, move.machine.id)
        if seed.exists():
            places[SEED] = seed
        items = []
        for name, path in places.items():
            with disk_copy.opened(path) as fd:
                items.append(Item(name, disk_copy.size_of(fd)))
                move.data_bytes += disk_copy.data_bytes(fd)
        self._send(write_header(Header(tuple(items), move.data_bytes)))
        disks = [
            (path, disk_copy.Source(number, self._send, self._count, size=item.bytes))
            for number, (path, item) in enumerate(zip(places.values(), items, strict=True))
        ]
        if not self._is_off.is_set():
            self._send_while_it_runs(disks)
        for path, source in disks:
            # opened again, so that the guest's last writes do not come from this host's cache
            with disk_copy.opened(path) as fd:
                source.finish(fd)
        self._send(RECORD.pack(END, 0, 0, 0))

    def _send_while_it_runs(self, disks: "list[tuple[Path, disk_copy.Source]]") -> None:
        last = sys.maxsize
        for _ in range(MAX_PASSES):
            count = 0
            for path, source in disks:
                with disk_copy.opened(path) as fd:
                    count += source.go_over(fd)
            failpoints.reach("the disks were gone over")
            # the machine writes as fast as it is copied, or hardly at all: another pass would not help
            if count <= SMALL_BYTES or count > last // 2:
                break
            last = count
        self._has_copied.set()
        while not self._is_off.wait(TICK_SECONDS):
            if self.has_hung_up():
                raise Over("the relay has hung up")

    def _send(self, data: bytes) -> None:
        self.write(self.to_relay, data)

    def _count(self, count: int) -> None:
        self.move.done_bytes = min(self.move.data_bytes, self.move.done_bytes + count)


class Receiver(End):
    """The target: plays `xl migrate-receive`. READY means that the digests match."""

    def __init__(self, move: Move[Order], order: ReceiveMachine) -> None:
        super().__init__(move)
        self._disks = {disk.id: disk for disk in copied_of(order)}
        self._reader = Reader(self._exactly)

    def _run(self) -> None:
        with _told(self.move):
            self.write(self.to_relay, BANNER)
            self._take_disks()
            self.write(self.to_relay, READY)
            self.expect(GO)
            self.write(self.to_relay, REPORT + b"\0")

    def _take_disks(self) -> None:
        header = self._reader.header()
        self.move.data_bytes = header.data_bytes
        names = [item.id for item in header.items]
        if names not in ([*self._disks], [*self._disks, SEED]):
            raise BadStream("these are not the disks that were announced")
        with contextlib.ExitStack() as stack:
            self._take_records([self._open(item, stack) for item in header.items])
        for disk in self._disks.values():
            pool = self._pool(disk)
            pool.finish(self.move.machine.id, disk.id)
            pool.flush(self.move.machine.id, disk.id)

    def _take_records(self, targets: "list[disk_copy.Target]") -> None:
        while True:
            kind, number, place, content = self._reader.record()
            if kind == END:
                break
            if number >= len(targets):
                raise BadStream("it speaks of a disk that was not announced")
            if kind == DATA:
                targets[number].write(place, content)
            elif kind == SUM:
                targets[number].compare(content)
        if not all(target.is_done for target in targets):
            raise BadStream("it ends before the last disk")

    def _open(self, item: Item, stack: contextlib.ExitStack) -> "disk_copy.Target":
        path = self._make_seed(item) if item.id == SEED else self._make_disk(self._disks[item.id], item)
        fd = stack.enter_context(disk_copy.opened(path, os.O_RDWR))
        return disk_copy.Target(fd, size=item.bytes, on_bytes=self._count)

    def _pool(self, disk: DiskSpec) -> storage.Pool:
        return self.move.dom0.pools.find(disk.pool)

    def _make_disk(self, disk: DiskSpec, item: Item) -> Path:
        if item.bytes > disk.size_mib * MIB:
            raise BadStream("a disk is larger than it should be")
        draft = self._pool(disk).begin_blank(self.move.machine.id, disk.id, size_mib=disk.size_mib)
        failpoints.reach("an empty disk is there")
        return draft

    def _make_seed(self, item: Item) -> Path:
        """An empty seed image of this size, in the machine's directory."""
        if item.bytes > MAX_SEED:
            raise BadStream("the seed image is larger than any")
        path = machine_files.seed_iso(self.move.dom0.settings, self.move.machine.id)
        write_durably(path, b"")
        os.truncate(path, item.bytes)
        return path

    def _count(self, count: int) -> None:
        self.move.done_bytes = min(self.move.data_bytes, self.move.done_bytes + count)
        if not count and self.has_hung_up():
            raise Over("the relay has hung up")

    def _exactly(self, size: int) -> bytes:
        held = bytearray()
        while len(held) < size:
            held += self.read(min(size - len(held), BLOCK))
        return bytes(held)


def _path(dom0: HostContext, machine_id: str, disk: DiskSpec) -> Path:
    return dom0.pools.find(disk.pool).path(machine_id, disk.id)


@contextlib.contextmanager
def _told(move: Move[Order]) -> Iterator[None]:
    """Turn an error into the failure of the migration, which its end reports, and stop the migration."""
    try:
        yield
    except errors.WorkerError as error:
        _break_off(move, error)
    except BadStream as error:
        _break_off(move, errors.MoveFailed("DISKS_NOT_RECEIVED", error=error))
    except BrokenPipeError as error:
        raise Over("the relay has hung up") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            _break_off(move, errors.DiskFull("HOST_DISK_FULL"))
        _break_off(move, errors.DiskFailed("DISK_IO_FAILED", error=error))


def _break_off(move: Move[Order], error: errors.WorkerError) -> None:
    move.failure = move.failure or error
    if move.relay is not None:
        move.relay.stop(str(error).rstrip("."))
    raise Over(str(error)) from error

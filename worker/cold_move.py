"""A cold move: the machine is off, and its disks are carried to a host that does not see them.

Lives here: the two ends that speak to the relay as xl's do, shutting down before and starting after, and
removing what was copied: the target's part while nothing was handed over, the source's by an order that
names it. The verbs themselves are `migrate`, `receive` and `settle`; one disk is `cold_disks`.
"""

import contextlib
import errno
import logging
import os
import select
import time
from collections.abc import Iterator
from pathlib import Path

from worker import boot, cold_disks, domains, errors, leases, machine_files, points, power, storage
from worker.contract import DiskSpec, MigrateMachine, Power, ReceiveMachine, SettleMove
from worker.disk_stream import (
    BLOCK,
    END,
    MAX_SEED,
    RECORD,
    SEED,
    Header,
    Item,
    Reader,
    write_header,
)
from worker.dom0 import Dom0, Work
from worker.files import write_durably
from worker.move_facts import MIB, Move, domains_of, own
from worker.read_along import BadStream
from worker.relay_journal import MoveJournal
from worker.relay_stream import BANNER, GO, READY, REPORT
from worker.relay_suspended import End, Over

logger = logging.getLogger(__name__)

SHUTDOWN_SECONDS = 180.0
#: a guest that was asked to go off is waited for so long before it is taken to have stayed
LEAVING_SECONDS = 30.0
#: from the GO to the login prompt
BOOT_SECONDS = 300.0
MADE = "disk:"
WAS_RUNNING = "was_running"


def copied_of(order: MigrateMachine | ReceiveMachine) -> tuple[DiskSpec, ...]:
    """The disks that are carried over, in the machine's order."""
    return tuple(disk for disk in order.machine.disks if disk.id in order.copied)


# --- the source --------------------------------------------------------------------------------


def check_source(move: Move, order: MigrateMachine) -> None:
    """Is it off, or may it be shut down? Raises WorkerError; nothing was done then."""
    domain = own(move.look(), move.machine)
    if domain is None and order.restarts:
        raise errors.MachineOff("The machine went off meanwhile. Ask again: then it moves without a start.")
    if domain is not None and not order.restarts:
        raise errors.MoveRefused("The machine runs, and nobody said that it may be shut down for this.")
    if domain is not None and domain.power != "RUNNING":
        raise errors.MoveRefused(f"The machine is {domain.power.lower()}, so it cannot be shut down.")
    for disk in copied_of(order):
        if not storage.find_pool(move.dom0.settings, disk.pool).exists(move.machine.id, disk.id):
            raise errors.MachineMissing(
                "The machine's disk is not on this host. Tell an administrator; nothing was changed."
            )


def shut_down(move: Move) -> None:
    """Ask the guest to go off and wait for it. Raises WorkerError when it does not."""
    work = move.work
    # Remembered first: whatever breaks off from here on starts it again.
    work.mark(**{WAS_RUNNING: "yes"})
    before, could_stop = work.deadline, work.can_stop
    # A guest on its way down cannot be held back: a cancel is heard when it is off.
    work.can_stop, work.deadline = False, min(before, boot.seconds_from_now(SHUTDOWN_SECONDS))
    try:
        power.shutdown(work)
    finally:
        work.can_stop, work.deadline = could_stop, before
    points.reach("the source is off")


def put_back(move: Move) -> None:
    """GO never left this host: what this move has shut down runs again, once."""
    work = move.work
    entry = work.entry if work.entry.job_id == move.job_id else move.dom0.journal.read(move.job_id)
    if entry is None or entry.marks.get(WAS_RUNNING) != "yes":
        return
    if not _stays_up(move):
        points.reach("before the source starts it again")
        try:
            _start(work)
        except errors.WorkerError as error:
            raise errors.MoveFailed(
                f"The machine was not moved, and could not be started again where it was: {error}"
            ) from error
    # Whoever switches it off from now on means it.
    entry.marks[WAS_RUNNING] = "and runs again"
    move.dom0.journal.write(entry)


def _stays_up(move: Move) -> bool:
    """Did it not listen, or is it on its way down?"""
    until = time.monotonic() + LEAVING_SECONDS
    while domains.is_up(domains.settle(move.dom0, move.machine.id)):
        if time.monotonic() > until:
            return True
        time.sleep(domains.LOOK_INTERVAL_SECONDS)
    return False


class Sender(End):
    """The source: plays `xl migrate`, with disks in the place of a domain."""

    def __init__(self, move: Move, order: MigrateMachine) -> None:
        super().__init__(move)
        self._order = order

    def _run(self) -> None:
        with _told(self.move):
            self.expect(BANNER)
            with contextlib.ExitStack() as stack:
                self._send_disks(stack)
            self.expect(READY)
            if own(domains_of(self.move.dom0, self.move.machine), self.move.machine) is not None:
                raise errors.MoveFailed("Somebody started the machine here while its disks were copied.")
            self.write(self.to_relay, GO)
            self.expect(REPORT)
            self.read(1)

    def _send_disks(self, stack: contextlib.ExitStack) -> None:
        move = self.move
        disks = [
            (disk, stack.enter_context(cold_disks.opened(_path(move.dom0, move.machine.id, disk))))
            for disk in copied_of(self._order)
        ]
        items = [Item(disk.id, cold_disks.size_of(fd)) for disk, fd in disks]
        opened = [fd for _, fd in disks]
        seed = machine_files.seed_iso(move.dom0.settings, move.machine.id)
        if seed.exists():
            opened.append(stack.enter_context(cold_disks.opened(seed)))
            items.append(Item(SEED, cold_disks.size_of(opened[-1])))
        move.data_bytes = sum(cold_disks.data_bytes(fd) for fd in opened)
        self._send(write_header(Header(tuple(items), move.data_bytes)))
        for fd in opened:
            cold_disks.send(fd, self._send, on_bytes=self._count)
        self._send(RECORD.pack(END, 0, 0))

    def _send(self, data: bytes) -> None:
        self.write(self.to_relay, data)

    def _count(self, count: int) -> None:
        self.move.done_bytes += count


def discard(move: Move, order: SettleMove) -> None:
    """The machine has booted elsewhere: the disks that this order names are removed here."""
    named = [disk for disk in order.machine.disks if disk.id in order.discards]
    for disk in named:
        storage.find_pool(move.dom0.settings, disk.pool).remove(move.machine.id, disk.id)
        points.reach("a disk that was kept is gone")


def has_left(move: Move) -> bool:
    """This host has let the machine go, and knows nothing of it any more but its disks."""
    journal = MoveJournal(move.dom0.settings.moves_dir, move.job_id, "SOURCE")
    return (
        journal.is_begun
        and journal.passed.go_passed
        and own(move.look(), move.machine) is None
        and machine_files.read_facts(move.dom0.settings, move.machine.id) is None
    )


# --- the target --------------------------------------------------------------------------------


def check_target(move: Move, order: ReceiveMachine) -> None:
    """Nothing is written over, and there is room. Raises WorkerError; nothing was done then."""
    needed: dict[str, int] = {}
    for disk in copied_of(order):
        pool = storage.find_pool(move.dom0.settings, disk.pool)
        if any((one.machine_id, one.disk_id) == (move.machine.id, disk.id) for one in pool.volumes()):
            raise errors.DiskTaken(
                f"The pool {disk.pool} of this host already has a disk of this machine: one that was kept"
                " after an earlier move, or half a copy. Let it go first; nothing was written over."
            )
        needed[disk.pool] = needed.get(disk.pool, 0) + disk.size_mib
    for name, size_mib in needed.items():
        free_mib = storage.find_pool(move.dom0.settings, name).probe().free_mib
        if free_mib < size_mib:
            raise errors.DiskFull(
                f"The pool {name} of this host has {free_mib} MiB free and the machine needs {size_mib}."
                " Choose another host."
            )
    if machine_files.read_facts(move.dom0.settings, move.machine.id) is not None:
        raise errors.DiskTaken("This host already holds this machine. Ask an administrator to look at it.")


def prepare(move: Move, order: ReceiveMachine) -> None:
    """Remember what is about to be made, and see that its configuration can be written here."""
    move.work.mark(**{f"{MADE}{disk.id}": "made" for disk in copied_of(order)})
    boot.write_config(move.work)


def _made(dom0: Dom0, job_id: str) -> list[tuple[storage.Pool, str, str]]:
    """Pool, machine and disk of what this very move has written here."""
    entry = dom0.journal.read(job_id)
    disks = entry.order.get("machine", {}).get("disks", ()) if entry is not None else ()
    return [
        (storage.find_pool(dom0.settings, disk["pool"]), entry.machine_id, disk["id"])
        for disk in disks
        if entry is not None and f"{MADE}{disk['id']}" in entry.marks
    ]


def has_made(dom0: Dom0, job_id: str) -> bool:
    return bool(_made(dom0, job_id))


def remove_made(dom0: Dom0, job_id: str) -> None:
    """What this very move has written here, and nobody was given, goes. Twice is harmless."""
    for pool, machine_id, disk_id in _made(dom0, job_id):
        pool.remove(machine_id, disk_id)
        points.reach("a half copy is gone")


class Receiver(End):
    """The target: plays `xl migrate-receive`; READY says that the digests are the same."""

    def __init__(self, move: Move, order: ReceiveMachine) -> None:
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
        for item in header.items:
            if item.id == SEED:
                self._take_seed(item)
            else:
                self._take_disk(self._disks[item.id], item)
        if self._reader.record()[0] != END:
            raise BadStream("it does not end after the last disk")
        for disk in self._disks.values():
            pool = self._pool(disk)
            pool.finish(self.move.machine.id, disk.id)
            pool.flush(self.move.machine.id, disk.id)

    def _pool(self, disk: DiskSpec) -> storage.Pool:
        return storage.find_pool(self.move.dom0.settings, disk.pool)

    def _take_disk(self, disk: DiskSpec, item: Item) -> None:
        if item.bytes > disk.size_mib * MIB:
            raise BadStream("a disk is larger than it should be")
        draft = self._pool(disk).begin_blank(self.move.machine.id, disk.id, size_mib=disk.size_mib)
        points.reach("an empty disk is there")
        with cold_disks.opened(draft, os.O_RDWR) as fd:
            cold_disks.receive(self._reader, fd, size=item.bytes, on_bytes=self._count)

    def _take_seed(self, item: Item) -> None:
        """Some kilobytes, in the directory that goes with the machine."""
        if item.bytes > MAX_SEED:
            raise BadStream("the seed image is larger than any")
        path = machine_files.seed_iso(self.move.dom0.settings, self.move.machine.id)
        write_durably(path, b"")
        os.truncate(path, item.bytes)
        with cold_disks.opened(path, os.O_RDWR) as fd:
            cold_disks.receive(self._reader, fd, size=item.bytes, on_bytes=self._count)

    def _count(self, count: int) -> None:
        self.move.done_bytes += count
        if not count and self._has_hung_up():
            raise Over("the relay has hung up")

    def _has_hung_up(self) -> bool:
        poll = select.poll()
        poll.register(self.from_relay, 0)
        return bool(poll.poll(0))

    def _exactly(self, size: int) -> bytes:
        held = bytearray()
        while len(held) < size:
            held += self.read(min(size - len(held), BLOCK))
        return bytes(held)


def hold(move: Move, order: ReceiveMachine) -> Power:
    """The GO was handed over, so the machine is this host's: started, where it was running before.

    Nobody else may start it, whatever is told or broken meanwhile; so this goes on after a restart too.
    """
    leases.take(move.dom0, move.machine, fence=order.fence)
    if order.restarts:
        _boot(move)
    return domains.power_of(own(move.look(), move.machine))


def _boot(move: Move) -> None:
    work = move.work
    _start(work)
    move.booted = boot.watch_login(work, until=boot.seconds_from_now(power.PROMPT_SECONDS))
    domain = domains.find(move.dom0, move.machine.id)
    if not domains.is_up(domain):
        domains.destroy(move.dom0, move.machine.id)
        raise errors.GuestDied(
            "The machine has moved, and ended while it was booting here; its last console lines say why. Its"
            " disks are still kept where it was."
        )


def _start(work: Work) -> None:
    """Make its domain, without anything in between that could be taken back."""
    work.can_stop, work.deadline = False, boot.seconds_from_now(BOOT_SECONDS)
    boot.start_domain(work, boot.write_config(work))


# --- both --------------------------------------------------------------------------------------


def _path(dom0: Dom0, machine_id: str, disk: DiskSpec) -> Path:
    return storage.find_pool(dom0.settings, disk.pool).path(machine_id, disk.id)


@contextlib.contextmanager
def _told(move: Move) -> Iterator[None]:
    """What goes wrong here breaks the move off, and is what its end says."""
    try:
        yield
    except errors.WorkerError as error:
        _break_off(move, error)
    except BadStream as error:
        _break_off(move, errors.MoveFailed(f"The disks did not arrive as they should: {error}. Try again."))
    except BrokenPipeError as error:
        raise Over("the relay has hung up") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            _break_off(move, errors.DiskFull("The host's disk is full. Nothing was kept; make room there."))
        _break_off(move, errors.DiskFailed(f"A disk could not be read or written ({error}). Try again."))


def _break_off(move: Move, error: errors.WorkerError) -> None:
    move.failure = move.failure or error
    if move.relay is not None:
        move.relay.stop(str(error).rstrip("."))
    raise Over(str(error)) from error

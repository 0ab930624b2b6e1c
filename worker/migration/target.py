"""RECEIVE: the target's side of a migration.

Checks before anything is received, xl and the relay, and what this host alone may conclude. If no GO was
handed over, what was received is removed. If one was, nothing is destroyed or unpaused here: `finalize` does
that after the portal has compared both hosts.
"""

import contextlib
import dataclasses
import logging
import os
import socket

from worker import errors, failpoints, shell
from worker.contract import Order, Power, ReceiveMachine
from worker.guest import domains, leases, machine_files
from worker.ipc import relay_client
from worker.job.context import JobContext
from worker.migration import cold, cold_stream, session, suspended
from worker.migration.facts import Move, has_disks, own, wait_for_xl
from worker.migration.session import XL_SECONDS
from worker.network import bridges
from worker.relay.disk_stream import DiskStream
from worker.relay.gate import Relay, RelayPipes, TransferHooks
from worker.relay.stream_parser import IncrementalParser
from worker.xen import xl

logger = logging.getLogger(__name__)

#: memory that Xen needs for a domain beside its own, and page tables
OVERHEAD_MIB = 8


def receive(work: JobContext[ReceiveMachine]) -> Power:
    """Receive one machine from one host and let it run. Returns its power afterwards. Raises WorkerError."""
    return session.carry_out(work, "TARGET", begin=_begin, left=suspended.release, conclude=_conclude)


def _begin(move: Move[ReceiveMachine]) -> str:
    order = move.work.order
    with move.work.step("CHECK"):
        _check(move, order)
    move.journal.begin()
    with move.work.step("LISTEN"):
        link = _await_source(move, order)
    with contextlib.closing(link):
        return _take_in(move, order, link)


def _check(move: Move[Order], order: ReceiveMachine) -> None:
    settings, machine = move.dom0.settings, move.machine
    is_cold = order.method == "COLD"
    leases.make_visible(move.dom0, move.machine)
    if found := move.look():
        raise errors.NameTaken("DOMAIN_HERE_ALREADY", domain=found[0].name or found[0].uuid)
    if is_cold:
        cold.check_target(move, order)
    seen = dataclasses.replace(
        machine, disks=tuple(disk for disk in machine.disks if disk.id not in order.copied)
    )
    if not has_disks(move.dom0, seen):
        raise errors.MachineMissing("DISKS_NOT_VISIBLE")
    missing = {nic.bridge for nic in machine.nics} - set(bridges.read_bridges(settings.network_dir))
    if missing and settings.network_dir.exists():
        raise errors.MoveRefused("BRIDGE_NOT_HERE", bridge=min(missing))
    for name in filter(None, (machine.image.kernel, machine.image.ramdisk)):
        if not (settings.kernels_dir / name).is_file():
            raise errors.KernelMissing("KERNEL_NOT_HERE_LATER", name=name)
    if not is_cold or order.restarts:
        _check_memory(move)


def _check_memory(move: Move[Order]) -> None:
    try:
        free = int(move.dom0.xl.info()["free_memory"])
    except xl.XlError as error:
        raise errors.XlUnreadable("XEN_NOT_RESPONDING") from error
    if free < move.machine.memory_mib + OVERHEAD_MIB:
        raise errors.NoMemory(
            "MEMORY_NOT_FREE", free_mib=free, needed_mib=move.machine.memory_mib + OVERHEAD_MIB
        )


def _await_source(move: Move[Order], order: ReceiveMachine) -> socket.socket:
    try:
        link, move.port = relay_client.listen(
            move.dom0.settings.relay_socket, certificate=order.certificate, source=order.source_address
        )
        move.tell("LISTENING", move.work.share("LISTENING"))
        session.await_peer(move, link)
    except relay_client.RelayAway as error:
        session.close(move)
        raise session.no_relay(error) from error
    except errors.WorkerError:
        session.close(move)
        raise
    # consoled handles a domain when there is a machine.json with its uuid
    machine_files.write_facts(move.dom0.settings, move.machine, job_id=move.job_id)
    return link


def _take_in_cold(move: Move[Order], order: ReceiveMachine, link: socket.socket) -> str:
    cold.prepare(move, order)
    receiver = cold_stream.Receiver(move, order)
    move.relay = _relay(move, order, RelayPipes(*receiver.ways, link), DiskStream())
    receiver.start()
    move.relay.start()
    return session.follow(move, receiver.wait)


def _relay(
    move: Move[Order], order: ReceiveMachine, ways: RelayPipes, stream: IncrementalParser | None = None
) -> Relay:
    hands = TransferHooks(
        before_go=lambda: leases.take(move.dom0, move.machine, fence=order.fence),
        before_giving_back=lambda: leases.release(move.dom0, move.machine, fence=order.fence),
    )
    return Relay(ways, move.journal, side="TARGET", hands=hands, stream=stream)


def _take_in(move: Move[Order], order: ReceiveMachine, link: socket.socket) -> str:
    if order.method == "COLD":
        return _take_in_cold(move, order, link)
    if order.method == "SUSPENDED":
        receiver = suspended.Receiver(move)
        move.relay = _relay(move, order, RelayPipes(*receiver.ways, link))
        receiver.start()
        move.relay.start()
        return session.follow(move, receiver.wait)
    # The order of creation matters: when a process is killed, the kernel closes the higher descriptor first.
    # An xl that waits for GO can then no longer report that there was none, and leaves its copy. Otherwise it
    # might destroy it, and what is left could not be told from a machine that has run here.
    to_xl, from_xl = suspended.wide_pipe(), suspended.wide_pipe()
    process = session.start_xl(move, move.dom0.xl.migrate_receive(), stdin=to_xl[0], stdout=from_xl[1])
    for fd in (to_xl[0], from_xl[1]):
        os.close(fd)
    failpoints.reach("xl migrate-receive has begun")
    move.relay = _relay(move, order, RelayPipes(from_xl[0], to_xl[1], link))
    move.relay.start()
    return session.follow(move, lambda seconds: shell.ended(process, timeout_seconds=seconds))


def _conclude(move: Move[ReceiveMachine], why: str) -> Power:
    wait_for_xl(move, seconds=XL_SECONDS)
    failpoints.reach("the target concludes")
    domain = own(move.look(), move.machine)
    if move.journal.passed.go_passed:
        order = move.work.order
        if order.method == "COLD":
            return cold.hold(move, order)
        if domain is not None and domain.power == "RUNNING":
            return "RUNNING"
        if domain is None and move.relay is not None and move.relay.is_good is False:
            raise errors.MoveFailed("COULD_NOT_START_HERE", details=session.last_words(move))
        raise errors.MoveUnknown("BROKE_OFF_AFTER_GO")
    set_target_right(move)
    if move.dom0.journal.is_cancel_asked(move.job_id):
        raise errors.Cancelled("MOVE_CANCELLED")
    if move.failure is not None:
        raise move.failure
    raise errors.MoveFailed("NOT_TAKEN_IN", why=why, details=session.last_words(move))


def set_target_right(move: Move[Order]) -> None:
    """Remove what was received. No GO was handed over and none will be, so it never ran."""
    domain = own(move.look(), move.machine)
    if domain is None:
        leases.let_go(move.dom0, move.machine)
        return
    if domain.power not in ("PAUSED", "SUSPENDED", "UNKNOWN"):
        raise errors.MoveUnknown("RUNS_WITHOUT_GO")
    domains.destroy(move.dom0, move.machine.id)
    failpoints.reach("what came in is gone")
    leases.let_go(move.dom0, move.machine)
    move.look()


def undo_receive(work: JobContext[Order]) -> None:
    """Remove what this host has written of a machine that did not come. No other disk is touched."""
    move = Move(work, job_id=work.order.job_id, side="TARGET")
    if not move.journal.passed.go_passed and domains.find(work.dom0, work.machine.id) is None:
        cold.remove_made(work.dom0, work.order.job_id)
        machine_files.forget_job(work.dom0, work.machine.id, job_id=work.order.job_id)

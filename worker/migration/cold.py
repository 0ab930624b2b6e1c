"""A cold move: the machine's disks are carried to a host that does not see them, and it is off at the end.

Lives here: what is checked beforehand, shutting down in between and starting after, and removing what was
copied: the target's part while nothing was handed over, the source's by an order that names it. The verbs
themselves are `migrate`, `receive` and `settle`; what carries the disks is `cold_ends`.
"""

import logging
import time

from worker import errors, failpoints, storage
from worker.contract import MigrateMachine, Order, Power, ReceiveMachine, SettleMove
from worker.guest import boot, domains, leases, machine_files, power
from worker.job import accepted
from worker.job.context import HostContext, JobContext
from worker.migration.cold_stream import copied_of
from worker.migration.facts import Move, own
from worker.relay.journal import MoveJournal

logger = logging.getLogger(__name__)

SHUTDOWN_SECONDS = 180.0
#: a guest that was asked to go off is waited for so long before it is taken to have stayed
LEAVING_SECONDS = 30.0
#: from the GO to the login prompt
BOOT_SECONDS = 300.0
MADE = "disk:"
WAS_RUNNING = "was_running"


# --- the source --------------------------------------------------------------------------------


def check_source(move: Move[Order], order: MigrateMachine) -> None:
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


def shut_down(move: Move[Order]) -> None:
    """Ask the guest to go off and wait for it. Raises WorkerError when it does not."""
    work = move.work
    work.check_cancelled()
    if own(move.look(), move.machine) is None:
        raise errors.MachineOff(
            "The machine went off while its disks were copied. Ask again: then it moves without a start."
        )
    # Remembered first: whatever breaks off from here on starts it again.
    work.mark(**{WAS_RUNNING: "yes"})
    before, could_stop = work.deadline, work.can_stop
    # A guest on its way down cannot be held back: a cancel is heard when it is off.
    work.can_stop, work.deadline = False, min(before, boot.seconds_from_now(SHUTDOWN_SECONDS))
    try:
        power.shutdown(work)
    finally:
        work.can_stop, work.deadline = could_stop, before
    failpoints.reach("the source is off")
    work.check_cancelled()


def put_back(move: Move[Order]) -> None:
    """GO never left this host: what this move has shut down runs again, once."""
    work = move.work
    entry = work.entry if work.entry.job_id == move.job_id else move.dom0.journal.read(move.job_id)
    if entry is None or not entry.is_ours or entry.machine_id != move.machine.id:
        return
    if entry.marks.get(WAS_RUNNING) != "yes":
        return
    if not _stays_up(move):
        failpoints.reach("before the source starts it again")
        try:
            _start(work)
        except errors.WorkerError as error:
            raise errors.MoveFailed(
                f"The machine was not moved, and could not be started again where it was: {error}"
            ) from error
    # Whoever switches it off from now on means it.
    entry.marks[WAS_RUNNING] = "and runs again"
    move.dom0.journal.write(entry)


def _stays_up(move: Move[Order]) -> bool:
    """Did it not listen, or is it on its way down?"""
    until = time.monotonic() + LEAVING_SECONDS
    while domains.is_up(domains.settle(move.dom0, move.machine.id)):
        if time.monotonic() > until:
            return True
        time.sleep(domains.LOOK_INTERVAL_SECONDS)
    return False


def discard(move: Move[Order], order: SettleMove) -> None:
    """The machine has booted elsewhere: the disks that this order names are removed here."""
    named = [disk for disk in order.machine.disks if disk.id in order.discards]
    for disk in named:
        storage.find_pool(move.dom0.settings, disk.pool).remove(move.machine.id, disk.id)
        failpoints.reach("a disk that was kept is gone")


def has_left(move: Move[Order]) -> bool:
    """This host has let the machine go, and knows nothing of it any more but its disks."""
    journal = MoveJournal(move.dom0.settings.moves_dir, move.job_id, "SOURCE")
    return (
        journal.is_begun
        and journal.passed.go_passed
        and own(move.look(), move.machine) is None
        and machine_files.read_facts(move.dom0.settings, move.machine.id) is None
    )


# --- the target --------------------------------------------------------------------------------


def check_target(move: Move[Order], order: ReceiveMachine) -> None:
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


def prepare(move: Move[Order], order: ReceiveMachine) -> None:
    """Remember what is about to be made, and see that its configuration can be written here."""
    move.work.mark(**{f"{MADE}{disk.id}": "made" for disk in copied_of(order)})
    boot.write_config(move.work)


def _made(dom0: HostContext, job_id: str) -> list[tuple[storage.Pool, str, str]]:
    """Pool, machine and disk of what this very move has written here."""
    entry = dom0.journal.read(job_id)
    order = accepted.order_of(dom0, entry) if entry is not None else None
    if entry is None or not isinstance(order, ReceiveMachine):
        return []
    return [
        (storage.find_pool(dom0.settings, disk.pool), order.machine.id, disk.id)
        for disk in copied_of(order)
        if f"{MADE}{disk.id}" in entry.marks
    ]


def has_made(dom0: HostContext, job_id: str) -> bool:
    return bool(_made(dom0, job_id))


def remove_made(dom0: HostContext, job_id: str) -> None:
    """What this very move has written here, and nobody was given, goes. Twice is harmless."""
    for pool, machine_id, disk_id in _made(dom0, job_id):
        pool.remove(machine_id, disk_id)
        failpoints.reach("a half copy is gone")


def hold(move: Move[Order], order: ReceiveMachine) -> Power:
    """The GO was handed over, so the machine is this host's: started, where it was running before.

    Nobody else may start it, whatever is told or broken meanwhile; so this goes on after a restart too.
    """
    leases.take(move.dom0, move.machine, fence=order.fence)
    if order.restarts:
        _boot(move)
    return domains.power_of(own(move.look(), move.machine))


def _boot(move: Move[Order]) -> None:
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


def _start(work: JobContext[Order]) -> None:
    """Make its domain, without anything in between that could be taken back."""
    work.can_stop, work.deadline = False, boot.seconds_from_now(BOOT_SECONDS)
    boot.start_domain(work, boot.write_config(work))

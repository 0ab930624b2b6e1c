"""Cold migration: the disks are copied to a host that does not see them, and the machine is off at the end.

Checks before the copy, the shutdown in between, the start afterwards, and the removal of copies: the
target's, as long as GO was not handed over, and the source's, by an order that names the disks. The stream
itself is in `cold_stream`.
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
#: how long a guest that accepted a shutdown may take before it counts as still running
LEAVING_SECONDS = 30.0
#: from GO to the login prompt
BOOT_SECONDS = 300.0
MADE = "disk:"
WAS_RUNNING = "was_running"


# --- the source --------------------------------------------------------------------------------


def check_source(move: Move[Order], order: MigrateMachine) -> None:
    """Check that the machine is off or may be shut down. Raises WorkerError; nothing was changed then."""
    domain = own(move.look(), move.machine)
    if domain is None and order.restarts:
        raise errors.MachineOff("WENT_OFF")
    if domain is not None and not order.restarts:
        raise errors.MoveRefused("MAY_NOT_SHUT_DOWN")
    if domain is not None and domain.power != "RUNNING":
        raise errors.MoveRefused("CANNOT_SHUT_DOWN", state=domain.power)
    for disk in copied_of(order):
        if not move.dom0.pools.find(disk.pool).exists(move.machine.id, disk.id):
            raise errors.MachineMissing("DISK_NOT_HERE")


def shut_down(move: Move[Order]) -> None:
    """Shut the guest down and wait for it. Raises WorkerError when it does not shut down."""
    work = move.work
    work.check_cancelled()
    if own(move.look(), move.machine) is None:
        raise errors.MachineOff("WENT_OFF_WHILE_COPIED")
    # Marked first: whatever fails after this starts the machine again.
    work.mark(**{WAS_RUNNING: "yes"})
    before, could_stop = work.deadline, work.can_stop
    # A shutdown cannot be taken back, so a cancel is handled once the machine is off.
    work.can_stop, work.deadline = False, min(before, boot.seconds_from_now(SHUTDOWN_SECONDS))
    try:
        power.shutdown(work)
    finally:
        work.can_stop, work.deadline = could_stop, before
    failpoints.reach("the source is off")
    work.check_cancelled()


def put_back(move: Move[Order]) -> None:
    """Start the machine again if this migration shut it down. GO was never sent. Idempotent."""
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
            raise errors.MoveFailed("NOT_MOVED_NOT_RESTARTED", error=error) from error
    # A later shutdown is intended, so the machine is not started a second time.
    entry.marks[WAS_RUNNING] = "and runs again"
    move.dom0.journal.write(entry)


def _stays_up(move: Move[Order]) -> bool:
    """Whether the domain is still up after LEAVING_SECONDS, i.e. the guest ignored the shutdown."""
    until = time.monotonic() + LEAVING_SECONDS
    while domains.is_up(domains.settle(move.dom0, move.machine.id)):
        if time.monotonic() > until:
            return True
        time.sleep(domains.LOOK_INTERVAL_SECONDS)
    return False


def discard(move: Move[Order], order: SettleMove) -> None:
    """Remove the disks that the order names: the machine has booted on the target."""
    named = [disk for disk in order.machine.disks if disk.id in order.discards]
    for disk in named:
        move.dom0.pools.find(disk.pool).remove(move.machine.id, disk.id)
        failpoints.reach("a disk that was kept is gone")


def has_left(move: Move[Order]) -> bool:
    """Whether this host sent GO and has no domain and no machine.json of the machine any more."""
    journal = MoveJournal(move.dom0.settings.moves_dir, move.job_id, "SOURCE")
    return (
        journal.is_begun
        and journal.passed.go_passed
        and own(move.look(), move.machine) is None
        and machine_files.read_facts(move.dom0.settings, move.machine.id) is None
    )


# --- the target --------------------------------------------------------------------------------


def check_target(move: Move[Order], order: ReceiveMachine) -> None:
    """Check that no disk would be overwritten and that there is space.

    Raises WorkerError; nothing was changed then.
    """
    needed: dict[str, int] = {}
    for disk in copied_of(order):
        pool = move.dom0.pools.find(disk.pool)
        if any((one.machine_id, one.disk_id) == (move.machine.id, disk.id) for one in pool.volumes()):
            raise errors.DiskTaken("OLD_DISK_THERE", pool=disk.pool)
        needed[disk.pool] = needed.get(disk.pool, 0) + disk.size_mib
    for name, size_mib in needed.items():
        free_mib = move.dom0.pools.find(name).probe().free_mib
        if free_mib < size_mib:
            raise errors.DiskFull("POOL_TOO_SMALL_HERE", pool=name, free_mib=free_mib, needed_mib=size_mib)
    if machine_files.read_facts(move.dom0.settings, move.machine.id) is not None:
        raise errors.DiskTaken("MACHINE_HERE_ALREADY")


def prepare(move: Move[Order], order: ReceiveMachine) -> None:
    """Mark the disks that are about to be made, and check that the configuration can be written here."""
    move.work.mark(**{f"{MADE}{disk.id}": "made" for disk in copied_of(order)})
    boot.write_config(move.work)


def _made(dom0: HostContext, job_id: str) -> list[tuple[storage.Pool, str, str]]:
    """Pool, machine id and disk id of each disk that this migration has made here."""
    entry = dom0.journal.read(job_id)
    order = accepted.order_of(dom0, entry) if entry is not None else None
    if entry is None or not isinstance(order, ReceiveMachine):
        return []
    return [
        (dom0.pools.find(disk.pool), order.machine.id, disk.id)
        for disk in copied_of(order)
        if f"{MADE}{disk.id}" in entry.marks
    ]


def has_made(dom0: HostContext, job_id: str) -> bool:
    """Whether this migration has made disks here. Raises WorkerError."""
    return bool(_made(dom0, job_id))


def remove_made(dom0: HostContext, job_id: str) -> None:
    """Remove the disks that this migration has made here. GO was never handed over. Idempotent."""
    for pool, machine_id, disk_id in _made(dom0, job_id):
        pool.remove(machine_id, disk_id)
        failpoints.reach("a half copy is gone")


def hold(move: Move[Order], order: ReceiveMachine) -> Power:
    """GO was handed over, so the machine belongs to this host: take its disks, and start it if it ran before.

    No other host may start it now, so this is also done after a restart of the worker.
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
        raise errors.GuestDied("MOVED_THEN_ENDED")


def _start(work: JobContext[Order]) -> None:
    """Make its domain. No cancel is possible from here on."""
    work.can_stop, work.deadline = False, boot.seconds_from_now(BOOT_SECONDS)
    boot.start_domain(work, boot.write_config(work))

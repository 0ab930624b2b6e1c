"""SETTLE_MOVE: the portal compared both hosts of a migration and says where the machine is.

Looks again, refuses an outcome that contradicts what this host sees, and cleans up. Nothing is done that this
host's journal or list of domains contradicts.
"""

from typing import NoReturn

from worker import errors
from worker.contract import Power, SettleMove
from worker.guest import domains, leases, machine_files
from worker.job.context import JobContext
from worker.migration import cold, source
from worker.migration.facts import AWAY, INCOMING, Move, own
from worker.xen import xl


def settle(work: JobContext[SettleMove]) -> Power:
    """Execute SETTLE_MOVE. Returns the power of the machine here. Raises VerdictContradicted and others."""
    order = work.order
    move = Move(work, job_id=order.move_job_id, side=order.side)
    # The migration is over: no GO passes from now on, whatever is still running.
    move.journal.close()
    with work.step("SETTLE"):
        act = {
            ("SOURCE", "MOVED"): _source_moved,
            ("SOURCE", "STAYED"): _source_stayed,
            ("TARGET", "MOVED"): _target_moved,
            ("TARGET", "STAYED"): _target_stayed,
        }[order.side, order.verdict]
        act(move, own(move.look(), move.machine))
    return domains.power_of(own(move.look(), move.machine))


def _source_moved(move: Move[SettleMove], domain: xl.Domain | None) -> None:
    """It runs on the target: remove what is left here."""
    discards = move.work.order.discards
    if discards:
        if not cold.has_left(move):
            _contradict("its disks are to go, and this host never handed the machine over or has it again")
        cold.discard(move, move.work.order)
        return
    if domain is not None:
        if domain.power == "RUNNING":
            _contradict("it is to have moved, and it runs here")
        if not move.journal.passed.go_passed:
            _contradict("it is to have moved, and this host never let the other one run it")
        domains.destroy(move.dom0, move.machine.id)
    machine_files.forget(move.dom0, move.machine.id)
    leases.let_go(move.dom0, move.machine)


def _source_stayed(move: Move[SettleMove], domain: xl.Domain | None) -> None:
    """It runs nowhere else and never will: resume it here. It may have ended meanwhile."""
    if domain is None and move.journal.passed.phase == "REPORTED":
        _contradict("it is to have stayed, and the other host has reported that it runs there")
    # The target has released its lease by now; otherwise this is refused.
    leases.take(move.dom0, move.machine, fence=move.work.order.fence)
    source.set_source_right(move)


def _target_moved(move: Move[SettleMove], domain: xl.Domain | None) -> None:
    """It is here: it runs, or may run now, because GO was handed over for it."""
    if domain is None:
        if not move.journal.passed.go_passed:
            _contradict("it is to have moved here, and it is not here")
        return  # it ran here and has ended since
    if domain.power == "RUNNING" and not domain.name.endswith(INCOMING):
        return
    if not move.journal.passed.go_passed:
        _contradict("it is to have moved here, and no word was handed over here that it may run")
    if domain.power not in ("PAUSED", "RUNNING"):
        _contradict(f"it is to have moved here, and its domain is {domain.power}")
    leases.take(move.dom0, move.machine, fence=move.work.order.fence)
    name = domain.name.removesuffix(INCOMING)
    try:
        if domain.name != name:
            move.dom0.xl.rename(domain.domid, name)
        if domain.power == "PAUSED":
            move.dom0.xl.unpause(domain.domid)
    except xl.XlError as error:
        raise errors.XlFailed("MOVED_NOT_STARTED") from error


def _target_stayed(move: Move[SettleMove], domain: xl.Domain | None) -> None:
    """It is on the source: remove what was received here, which never ran."""
    if domain is not None:
        if domain.power == "RUNNING" or domain.name.endswith(AWAY):
            _contradict("it is to have stayed where it was, and it runs here")
        if move.journal.passed.go_passed:
            _contradict("it is to have stayed where it was, and this host was told to run it")
        domains.destroy(move.dom0, move.machine.id)
    elif move.journal.passed.go_passed and cold.has_made(move.dom0, move.job_id):
        # It may have run from this copy and been switched off: it is unknown which copy is newer.
        _contradict("it is to have stayed where it was, and this host was given its disks")
    _give_back(move)
    cold.remove_made(move.dom0, move.job_id)
    machine_files.forget_job(move.dom0, move.machine.id, job_id=move.job_id)


def _give_back(move: Move[SettleMove]) -> None:
    """Release leases taken at GO and never used, so that the source can take the disks."""
    host = move.dom0.settings.host
    if any(lease.owner == host and not lease.is_released for lease in leases.look(move.dom0, move.machine)):
        leases.release(move.dom0, move.machine, fence=move.work.order.fence)
    leases.let_go(move.dom0, move.machine)


def _contradict(what: str) -> NoReturn:
    raise errors.VerdictContradicted("HOST_SEES_OTHERWISE", what=what)

"""Executes orders, from the envelope to the end of the job: accept, execute, report, clean up, continue.

It decides which orders are accepted, maps each verb of `contract.VERBS` to its function, and writes the
journal. Orders for one machine run one at a time, under the machine's lock.
"""

import contextlib
import errno
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from worker import contract, errors
from worker.agent import cancel
from worker.agent.envelopes import Verified, say_too_old, verify
from worker.contract import Order, Power, Report
from worker.files import LockHeld, locked
from worker.guest import domains, machine_files, power, provision, readiness
from worker.identity import portal_keys
from worker.job import accepted
from worker.job.context import HostContext, JobContext, describe
from worker.job.journal import Entry, read_boot_id, read_fence, unreadable_fence, write_fence
from worker.job.order_checks import check_order
from worker.job.reporting import JobReporter
from worker.migration import finalize, source, target

logger = logging.getLogger(__name__)

#: attempts before a job is given up, so that a job that kills the worker is not repeated for ever
MAX_ATTEMPTS = 3
#: a job that is about to end holds its machine's lock for a moment longer
LOCK_WAIT_SECONDS = 2.0


@dataclass(frozen=True)
class Act:
    """The functions that execute and undo a verb of `contract.VERBS` on this host."""

    #: executes the order; returns the machine's power afterwards
    do: Callable[[JobContext[Any]], Power]
    #: removes what a failed or cancelled job made; idempotent
    undo: Callable[[JobContext[Order]], None] = power.leave


ACTS: dict[str, Act] = {
    contract.CreateMachine.kind: Act(provision.create, provision.undo),
    contract.StartMachine.kind: Act(power.start, power.undo_start),
    contract.ShutdownMachine.kind: Act(power.shutdown),
    contract.PoweroffMachine.kind: Act(power.poweroff),
    contract.RebootMachine.kind: Act(power.reboot),
    contract.DeleteMachine.kind: Act(power.delete),
    contract.ReceiveMachine.kind: Act(target.receive, target.undo_receive),
    contract.MigrateMachine.kind: Act(source.migrate),
    contract.SettleMove.kind: Act(finalize.settle),
}


def obey(dom0: HostContext, untrusted_envelope: object, *, now: int) -> None:
    """Verify an envelope and execute its order at once. Anything else is dropped with one log line.

    `now` is in seconds since the epoch and is compared with the envelope's expiry.
    """
    if (verified := verify(dom0, untrusted_envelope, now=now)) is not None:
        perform(dom0, verified)


def perform(dom0: HostContext, verified: Verified) -> None:
    """Execute a verified order once. New keys of the portal are kept."""
    order = _order_in(dom0, verified.message)
    if order is None:
        return
    try:
        machine = check_order(order)
    except errors.OrderRefused as error:
        logger.error("refused the order of job %.40r: %s", order.job_id, error)
        _refuse(dom0, order, error)
        return
    if isinstance(order, contract.CancelJob):
        cancel.cancel(dom0, order, carry_out=carry_out)
        return
    # A job already in the journal may be running; do not wait for its lock.
    wait_seconds = 0.0 if dom0.journal.read(order.job_id) else LOCK_WAIT_SECONDS
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(dom0.settings.lock_file(machine.id), wait_seconds=wait_seconds))
        except LockHeld:
            logger.info("job %s waits: its machine is being worked on", order.job_id)
            return
        except OSError as error:
            _refuse(dom0, order, _unwritable(error))
            return
        _receive(dom0, order, envelope=verified.envelope, portal_keys=verified.portal_keys)


def _order_in(dom0: HostContext, message: contract.Message) -> Order | None:
    """The order that a message is, or None. A PortalKeys message is processed here and also returns None."""
    if isinstance(message, contract.PortalKeys):
        portal_keys.keep(dom0.settings.portal_key_file, message)
        return None
    if isinstance(message, contract.CancelJob) or (isinstance(message, Order) and message.kind in ACTS):
        return message
    if isinstance(message, Order):
        # a verb of the contract's table that this worker does not implement
        why = f"it cannot carry out {message.kind}"
        say_too_old(dom0, contract.UnreadableMessage(why, contract.encode(message)))
        return None
    logger.warning("dropped a signed message that is no order: %s", message.kind)
    return None


def _receive(dom0: HostContext, order: Order, *, envelope: str, portal_keys: str) -> None:
    entry = dom0.journal.read(order.job_id)
    if entry is not None and entry.machine_id != order.machine.id:
        logger.error("dropped an order: job %s is about another machine", order.job_id)
        return
    if entry is not None and entry.state == "ENDED":
        dom0.tell_end(entry)
        return
    is_known = entry is not None and entry.is_ours
    if not is_known:
        try:
            _take_fence(dom0, order)
        except errors.WorkerError as error:
            logger.warning("job %s is refused: %s", order.job_id, error)
            _refuse(dom0, order, error)
            return
        blank = entry or Entry(order.job_id, order.machine.id)
        entry = accepted.complete(blank, order, envelope=envelope, portal_keys=portal_keys)
    # The lock is held here, so the process that began this job has died.
    carry_out(dom0, cast("Entry", entry))


def _take_fence(dom0: HostContext, order: Order) -> None:
    """Refuse older orders for this machine from now on. Raises Fenced and other WorkerErrors."""
    fence_file = dom0.settings.fence_file(order.machine.id)
    if order.fence < read_fence(fence_file):
        raise _fenced()

    def write() -> None:
        write_fence(fence_file, order.fence)
        machine_files.keep_receipt(dom0.settings, order.machine)

    try:
        if _makes_room(order):
            dom0.journal.reserve.write(write)
        else:
            dom0.journal.reserve.check_room()
            write()
    except OSError as error:
        raise _unwritable(error) from error


def _makes_room(order: Order) -> bool:
    """Whether the order frees disk space, so that it may use the reserve of a full disk."""
    return order.kind == contract.DeleteMachine.kind


def resume(dom0: HostContext, job_id: str) -> None:
    """Continue or clean up a job of a process that has died. Does nothing while the lock is held."""
    entry = dom0.journal.read(job_id)
    if entry is None or accepted.order_of(dom0, entry) is None:
        return
    try:
        with locked(dom0.settings.lock_file(entry.machine_id)):
            entry = dom0.journal.read(job_id)
            if entry is not None and entry.state != "ENDED":
                carry_out(dom0, entry)
    except LockHeld:
        return


def carry_out(dom0: HostContext, entry: Entry) -> None:
    """Run or continue an accepted job to its end. The caller holds the machine's lock."""
    order = accepted.order_of(dom0, entry)
    if order is None or order.kind not in ACTS:
        logger.warning("job %s waits until the portal sends its order again", entry.job_id)
        return
    work = _work(dom0, order, entry)
    if entry.state == "RUNNING":
        end = _run(work)
        if end is None:
            return
        entry.end = contract.encode(end)
        entry.state = "ENDED" if end.event == "SUCCEEDED" else "CLEANING"
    if entry.state == "CLEANING":
        _write_down(dom0, entry)
        work.news.step("CLEANING", work.share("CLEANING"))
    if entry.state == "CLEANING" and _clean(work):
        entry.state = "ENDED"
    if entry.state == "ENDED" and isinstance(order, contract.CreateMachine):
        # A job that has ended is not continued, so SSH keys and password hashes need not stay on disk.
        entry.envelope = ""
    _write_down(dom0, entry)
    # A job that is not cleaned up has not ended: what it made still uses resources.
    if entry.state == "ENDED" and not dom0.journal.is_told(entry.job_id):
        dom0.tell_end(entry)


def _write_down(dom0: HostContext, entry: Entry) -> None:
    try:
        dom0.journal.write(entry)
    except OSError:
        logger.exception("the end of job %s could not be written down", entry.job_id)


def _work(dom0: HostContext, order: Order, entry: Entry) -> JobContext[Order]:
    machine = order.machine
    if entry.state == "RUNNING":
        entry.attempts += 1
        boot_id = read_boot_id()
        if entry.boot_id not in ("", boot_id):
            entry.marks["doubtful"] = "dom0 went down: what was written may not have reached the medium"
        entry.boot_id = boot_id
    news = JobReporter(dom0.reporter, job_id=order.job_id, machine_id=machine.id, attempt=entry.attempts)
    return JobContext(dom0, order, machine, entry, news, deadline=time.monotonic() + order.deadline_seconds)


def _run(work: JobContext[Order]) -> Report | None:
    """The end report, or None when the attempt could not be written to the journal."""
    entry, dom0 = work.entry, work.dom0
    if not _note_attempt(work):
        return None
    work.news.started()
    try:
        _refuse_to_continue(work)
        verb = contract.VERBS[work.order.kind]
        # A first attempt can be cancelled here. A migration that is begun again has to determine its outcome.
        work.can_stop = entry.attempts == 1 or (verb.can_stop and verb.gives_up)
        with work.step("ACCEPT"):
            pass
        work.can_stop = verb.can_stop
        power = ACTS[work.order.kind].do(work)
        config = machine_files.read_config(dom0.settings, work.machine.id)
        return work.news.end(event="SUCCEEDED", progress=100, power=power, config=config)
    except errors.Cancelled:
        logger.info("job %s was cancelled", entry.job_id)
        return _broken_off(work, event="CANCELLED")
    except errors.WorkerError as error:
        failure = error
    except OSError as error:
        failure = _of_system(error, work)
    except Exception:  # the one place that handles bugs: the failure is logged, reported and cleaned up
        failure = errors.Internal()
        logger.exception("job %s failed by a bug, reference %s", entry.job_id, failure.reference)
    reference = failure.reference if isinstance(failure, errors.Internal) else ""
    named = f"{failure.code} {reference}".strip()
    logger.warning("job %s failed: %s %s (%s)", entry.job_id, named, failure, failure.__cause__)
    return _broken_off(work, event="FAILED", error_reference=reference, **describe(failure))


def _note_attempt(work: JobContext[Order]) -> bool:
    """Write the attempt to the journal. False on failure; the job is then refused, or retried later."""
    try:
        work.dom0.journal.write(work.entry, is_urgent=_makes_room(work.order))
    except OSError as error:
        if work.entry.attempts == 1:
            _refuse(work.dom0, work.order, _unwritable(error))
        else:  # it has begun, so it must not report that nothing was done; the reconciler tries again
            logger.exception("job %s cannot be written down and waits", work.entry.job_id)
        return False
    return True


def _refuse_to_continue(work: JobContext[Order]) -> None:
    entry = work.entry
    try:
        if _is_overtaken(work):
            raise _fenced()
    except errors.FenceUnreadable as error:  # the job has begun, and this code says that nothing was done
        raise errors.GaveUp("FENCE_FILE_DAMAGED_LATER", path=error.params["path"]) from error
    if entry.attempts > MAX_ATTEMPTS and contract.VERBS[work.order.kind].gives_up:
        raise errors.GaveUp("STOPPED_TOO_OFTEN", attempts=MAX_ATTEMPTS)


def _is_overtaken(work: JobContext[Order]) -> bool:
    """Whether a newer order for this machine was accepted since. Raises FenceUnreadable."""
    fence_file = work.dom0.settings.fence_file(work.machine.id)
    last = read_fence(fence_file)
    if last < work.order.fence:  # the number is written before the order is journalled
        raise unreadable_fence(fence_file)
    return work.order.fence < last


def _is_last(work: JobContext[Order]) -> bool:
    """Whether it is certain that no newer order for this machine was accepted."""
    try:
        return not _is_overtaken(work)
    except errors.FenceUnreadable:
        return False


def _broken_off(work: JobContext[Order], **end: object) -> Report:
    """The end report of a job that failed or was cancelled."""
    start = work.console_start
    log = work.dom0.settings.console_log(work.machine.id)
    try:
        seen = domains.power_of(domains.find(work.dom0, work.machine.id))
    except errors.XlUnreadable:
        seen = "UNKNOWN"
    is_undone = _is_last(work) and work.order.kind in (
        contract.CreateMachine.kind,
        contract.StartMachine.kind,
    )
    return work.news.end(
        **end,
        console_tail=readiness.tail(log, start=start) if start >= 0 else "",
        power="OFF" if is_undone and "domain" in work.entry.marks else seen,
    )


def _clean(work: JobContext[Order]) -> bool:
    """Undo a failed job. Returns False when that is not possible now; the reconciler tries again."""
    try:
        if _is_overtaken(work):
            return True  # the domain and the disks may belong to the newer order
        ACTS[work.order.kind].undo(work)
    except errors.LeaseHeld as error:
        logger.error("job %s leaves the disks alone: %s", work.entry.job_id, error)
    except (errors.WorkerError, OSError) as error:
        logger.error("job %s is not cleaned up yet: %s", work.entry.job_id, error)
        return False
    return True


def _of_system(error: OSError, work: JobContext[Order]) -> errors.WorkerError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return errors.DiskFull("HOST_DISK_FULL")
    logger.error("job %s met a system error", work.entry.job_id, exc_info=error)
    return errors.Internal("WORKER_FILE_FAILED", error=error.strerror)


def _refuse(dom0: HostContext, order: Order, error: errors.WorkerError) -> None:
    """Report that a job was not begun. Not journalled, so that the order can be sent again."""
    news = JobReporter(dom0.reporter, job_id=order.job_id, machine_id=order.machine.id, attempt=0)
    dom0.reporter.tell(news.end(event="FAILED", **describe(error)))


def _fenced() -> errors.Fenced:
    return errors.Fenced("NEWER_ORDER_ACCEPTED")


def _unwritable(error: OSError) -> errors.JournalUnwritable:
    return errors.JournalUnwritable("JOURNAL_IO_FAILED", error=error.strerror)

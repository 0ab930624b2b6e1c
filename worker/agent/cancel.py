"""Cancellation of jobs: before a job begins, while it runs and after it has ended.

A running job checks for a cancel in `JobContext.check_cancelled`. What is undone afterwards is defined by
each verb.
"""

import logging
import typing
from collections.abc import Callable

from worker import contract
from worker.contract import CancelJob
from worker.contract.texts import ENGLISH
from worker.files import LockHeld, locked
from worker.job import accepted
from worker.job.context import HostContext
from worker.job.journal import Entry
from worker.job.reporting import JobReporter
from worker.relay.journal import MoveJournal

logger = logging.getLogger(__name__)

SIDES: tuple[contract.MoveSide, ...] = typing.get_args(contract.MoveSide)


def cancel(dom0: HostContext, order: CancelJob, *, carry_out: Callable[[HostContext, Entry], None]) -> None:
    """Cancel the job of `order`, or report why it cannot be cancelled. Idempotent."""
    entry = dom0.journal.read(order.job_id)
    if entry is not None and entry.machine_id != order.machine.id:
        logger.error("dropped a cancel: job %s is about another machine", order.job_id)
        return
    if entry is not None and entry.state == "ENDED":
        dom0.tell_end(entry)
        return
    try:
        # Written before the lock is taken: the thread that holds the lock, or takes it next, checks for this
        # file.
        dom0.journal.ask_cancel(order.job_id)
    except OSError as error:
        logger.error("the cancel of job %s cannot be written down: %s", order.job_id, error)
        return
    try:
        with locked(dom0.settings.lock_file(order.machine.id)):
            _cancel_idle(dom0, order, carry_out)
    except LockHeld:
        _say_heard(dom0, order, entry)


def note(dom0: HostContext, order: CancelJob) -> None:
    """Record in the journal that the job is cancelled. Raises OSError.

    Called when the cancel is accepted, so that an order of the same job that is accepted later finds the
    record even if the cancel itself has not been executed yet.
    """
    entry = dom0.journal.read(order.job_id)
    if entry is None or (entry.machine_id == order.machine.id and entry.state != "ENDED"):
        dom0.journal.ask_cancel(order.job_id)


def _cancel_idle(
    dom0: HostContext, order: CancelJob, carry_out: Callable[[HostContext, Entry], None]
) -> None:
    """Cancel a job that no thread is working on: it has not arrived, or its process has died."""
    entry = dom0.journal.read(order.job_id)
    if entry is None:
        end = _news(dom0, order).end(event="CANCELLED")
        entry = Entry(order.job_id, order.machine.id)
        entry.state, entry.end = "ENDED", contract.encode(end)
        # The order may still arrive; it then finds the job ended.
        dom0.journal.write(entry)
        dom0.tell_end(entry)
    elif entry.state == "ENDED":
        dom0.tell_end(entry)
    else:
        carry_out(dom0, entry)


def _say_heard(dom0: HostContext, order: CancelJob, entry: Entry | None) -> None:
    code, reason = "", "CANCEL_HEARD"
    accepted_order = accepted.order_of(dom0, entry) if entry is not None else None
    if accepted_order is not None and not contract.VERBS[accepted_order.kind].can_stop:
        code, reason = "TOO_LATE", "CANCEL_FINISHES"
    if any(MoveJournal(dom0.settings.moves_dir, order.job_id, side).passed.go_passed for side in SIDES):
        code, reason = "TOO_LATE", "CANCEL_SWITCHED_OVER"
    dom0.reporter.tell(
        _news(dom0, order).end(
            event="CANCEL_HEARD", error_code=code, error_reason=reason, error_message=ENGLISH.say(reason, {})
        )
    )


def _news(dom0: HostContext, order: CancelJob) -> JobReporter:
    return JobReporter(dom0.reporter, job_id=order.job_id, machine_id=order.machine.id, attempt=0)

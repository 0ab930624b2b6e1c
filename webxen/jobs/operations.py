"""Operations on machines that a host executes, and the effect of its reports.

Each operation is one transaction; the order is sent after the commit, and the sweep sends it again.
"""

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from webxen.accounts.models import Project, User
from webxen.core.errors import InvalidError, NotFoundError, UserError
from webxen.core.messages import Message, tell_all
from webxen.inventory import restores
from webxen.inventory.models import Host, Image, Network
from webxen.jobs import dispatch, history, kinds, placing, queries, rounds, settlement, status, timeouts
from webxen.jobs.models import Job
from webxen.jobs.opening import (
    AlreadyDoneError,
    JobOpenError,
    job_in_the_way,
    lift_fence,
    not_possible,
    open_job,
    send_once_committed,
)
from webxen.jobs.reports import SanitizedReport, read
from webxen.jobs.status import Event
from webxen.machines import lifecycle
from webxen.machines import operations as machines
from webxen.machines import queries as machine_queries
from webxen.machines.models import Machine
from webxen.quotas import operations as quotas
from worker import contract

#: audit detail of a job whose result arrived after it was given up
GIVEN_UP = Message("REPORTED_LATE")


class NoAnswerError(UserError):
    """The host accepted the job, or may have, and never reported its result."""

    code = "NO_ANSWER"


class NotCancellableError(UserError):
    """The job has ended, or its kind cannot be cancelled once it has begun."""

    code = "NOT_CANCELLABLE"


class TooLateError(UserError):
    """The point of no return is passed; the message says so."""

    code = "TOO_LATE"


# --- asking ------------------------------------------------------------------------------------


@transaction.atomic
def create_machine(
    *,
    project: Project,
    owner: User,
    name: str,
    image: Image,
    network: Network | None,
    vcpus: int,
    memory_mib: int,
    disk_gib: int,
    seed: Mapping[str, Any],
    host_name: str | None,
    requested_by: User | None,
    now: datetime,
) -> Job:
    """Reserve quota for a machine and create it; without a host that has room the job waits.

    `host_name`: only this host is considered. Raises InvalidError, QuotaExceededError, NameTakenError,
    NoAddressError, NoRoomError, RestoredError.
    """
    if host_name is not None and not placing.is_host(name=host_name):
        why: str = Message("HOST_NOT_FOUND", name=host_name)
        raise InvalidError(why, fields={"host": [why]})
    machine_id = uuid.uuid4()
    quotas.reserve(
        project=project, holder=machine_id, vcpus=vcpus, memory_mib=memory_mib, disk_gib=disk_gib, now=now
    )
    machine = machines.register(
        id=machine_id,
        project=project,
        owner=owner,
        name=name,
        image=image,
        network=network,
        vcpus=vcpus,
        memory_mib=memory_mib,
        disk_gib=disk_gib,
        seed=seed,
        now=now,
    )
    host, why = placing.take_host(machine=machine, wanted=host_name, now=now)
    if host is None and host_name is not None:
        raise placing.NoRoomError(why)
    job = open_job(machine, Job.Kind.CREATE, Job.Status.PENDING, requested_by, now)
    if host is None:
        _wait(job, why)
    else:
        _place(job, host, now)
    return job


def act(*, user: User, machine_id: UUID, action: str, now: datetime) -> Job:
    """Request one of `contract.ACTIONS`, e.g. "reboot"; return the job.

    Raises NotFoundError, JobOpenError, AlreadyDoneError, ActionRefusedError, QuotaExceededError,
    NothingHeldError, RestoredError.
    """
    if action not in contract.ACTIONS:
        raise NotFoundError
    return _ask(user, machine_id, contract.ACTIONS[action], now)


def delete_machine(*, user: User, machine_id: UUID, now: datetime) -> Job:
    """Delete a machine with its disks; return the job.

    A machine that waits for a host is deleted at once. While it is being created, the creation is cancelled
    and its job returned: the machine is gone when that job ends as CANCELLED. Raises as `act`, and
    NotCancellableError.
    """
    machine = machine_queries.get_visible(user=user, id=machine_id)
    if machine.state == Machine.State.PENDING:
        return _cancel_waiting(user, machine, now)
    creating = queries.open_job_of(machine_id=machine.id)
    if creating is not None and creating.kind == Job.Kind.CREATE:
        return cancel_job(user=user, job_id=creating.id, now=now)
    return _ask(user, machine_id, contract.VERBS[Job.Kind.DELETE], now)


@transaction.atomic
def _ask(user: User, machine_id: UUID, verb: contract.Verb, now: datetime) -> Job:
    machine = machine_queries.get_visible(user=user, id=machine_id)
    other = queries.open_job_of(machine_id=machine.id)
    if other is not None:
        raise job_in_the_way(machine, other)
    if done := lifecycle.why_not_needed(action=verb.action, machine=machine):
        raise AlreadyDoneError(done)
    allowed = lifecycle.allowed_actions(machine=machine, open_job=None, user=user)
    if why := allowed[verb.action]:
        raise not_possible(machine, verb.kind, why)
    job = open_job(machine, verb.kind, Job.Status.QUEUED, user, now)
    if verb.power_after == Machine.Power.RUNNING and machine.power not in lifecycle.RUNS:
        quotas.hold_running(holder=machine.id, why=Message("WHY_JOB", id=job.id), now=now)
    lift_fence(job)
    if verb.event_asked:
        lifecycle.move(machine=machine, event=lifecycle.Event(verb.event_asked), actor=user, now=now)
    send_once_committed(job, now)
    return job


@transaction.atomic
def _cancel_waiting(user: User, machine: Machine, now: datetime) -> Job:
    waiting = Job.objects.filter(machine=machine, status=Job.Status.PENDING).first()
    if waiting is None or not status.change(job_id=waiting.id, event=Event.CANCELLED, now=now):
        raise JobOpenError(Message("MACHINE_JUST_PLACED", name=machine.name))
    job = open_job(machine, Job.Kind.DELETE, Job.Status.QUEUED, user, now)
    status.change(job_id=job.id, event=Event.SUCCEEDED, now=now, progress=100)
    history.note(job=job, event=Job.Status.SUCCEEDED, now=now, message=Message("EVENT_HAD_NO_HOST"))
    settlement.forget_machine(machine=machine, actor=user, now=now)
    job.refresh_from_db()
    return job


# --- placing -----------------------------------------------------------------------------------


@transaction.atomic
def cancel_job(*, user: User, job_id: UUID, now: datetime) -> Job:
    """Cancel a job. A pending one ends at once, any other when its host reports the result.

    Raises NotFoundError, NotCancellableError, TooLateError.
    """
    job = queries.get_visible(user=user, id=job_id)
    if why := queries.why_not_cancellable(job):
        is_too_late = job.status in Job.OPEN and why == kinds.why_too_late(job=job)
        raise (TooLateError if is_too_late else NotCancellableError)(why)
    rules = kinds.rules_of(job.kind)
    if rules is not None and rules.cancel_waiting(job=job, actor=user, now=now):
        return job
    still = Q(status=job.status, started_at=job.started_at)
    if job.status == Job.Status.PENDING:
        asked = status.change(job_id=job.id, event=Event.CANCELLED, now=now, still=still)
    else:
        unchanged = Job.objects.filter(still, id=job.id)
        asked = bool(unchanged.update(cancel_asked_at=now, waiting_for=dispatch.CANCELLING))
        if rules is not None:
            rules.note_cancel(job=job)
    if not asked:
        raise NotCancellableError(Message("JOB_CHANGED"))
    history.note(job=job, event="CANCEL_ASKED", now=now, message=Message("EVENT_BY", name=user.username))
    history.record(job=job, action=f"CANCEL_{job.kind}", now=now, actor=user)
    was_pending = job.status == Job.Status.PENDING
    job.refresh_from_db()
    if was_pending:
        settlement.forget_machine(machine=job.machine, actor=user, now=now)
    else:
        send_once_committed(job, now)
    settlement.tell(job=job)
    return job


def _wait(job: Job, why: str) -> None:
    Job.objects.filter(id=job.id, status=Job.Status.PENDING).exclude(waiting_for=why).update(waiting_for=why)
    Machine.objects.filter(id=job.machine_id).update(state_reason=why)
    job.refresh_from_db(fields=("waiting_for",))


def _place(job: Job, host: Host, now: datetime) -> bool:
    """Assign a host to a pending create job; return False if it was cancelled meanwhile."""
    if not status.change(job_id=job.id, event=Event.PLACED, now=now, host=host, waiting_for=""):
        return False
    Machine.objects.filter(id=job.machine_id).update(host=host)
    lifecycle.move(
        machine=job.machine,
        event=lifecycle.Event.PLACED,
        actor=None,
        why=Message("EVENT_ON_HOST", host=host.name),
        now=now,
    )
    history.note(job=job, event=Job.Status.QUEUED, now=now, message=Message("EVENT_ON_HOST", host=host.name))
    job.refresh_from_db()
    job.machine.refresh_from_db()
    settlement.tell(job=job)
    send_once_committed(job, now)
    return True


def _place_waiting(now: datetime) -> int:
    waiting = Job.objects.filter(status=Job.Status.PENDING).order_by("created_at")
    found = waiting.select_related("machine", "machine__project")
    return rounds.each("place", found, lambda job: _place_one(job, now), now=now, about=_id)


def _id(job: Job) -> str:
    return str(job.id)


@transaction.atomic
def _place_one(job: Job, now: datetime) -> bool:
    # a host that was ordered to create it before the database was restored has it already
    wanted = restores.host_showing(machine_id=job.machine_id)
    host, why = placing.take_host(machine=job.machine, wanted=wanted, now=now)
    if host is None:
        _wait(job, why)
        return False
    if not _place(job, host, now):
        # cancelled meanwhile: the memory just reserved is released
        transaction.set_rollback(True)
        return False
    return True


# --- hearing -----------------------------------------------------------------------------------


@transaction.atomic
def apply_report(*, host: Host, report: contract.Report, now: datetime) -> bool:
    """Apply a report; return True if it changed something. Late, repeated and foreign reports change
    nothing.
    """
    news = read(report)
    if (has_moved := kinds.handle_report(host=host, report=report, job_id=news.job_id, now=now)) is not None:
        # a failing follow-up must not roll back the report
        kinds.run_follow_ups(now=now)
        return has_moved
    job = queries.reported_job(host=host, news=news)
    if job is None:
        return False
    if news.event == "CANCEL_HEARD":
        return _note_cancel_heard(job, news, now)
    is_late = news.is_end and job.error_code == NoAnswerError.code and job.status == Job.Status.FAILED
    event = status.event_of(news, is_late=is_late)
    # each job has one end: it counts even if a later step was received first
    in_order = Q() if news.is_end else Q(sequence__lt=news.sequence)
    if not status.change(job_id=job.id, event=event, now=now, still=in_order, **_told(news, now)):
        return False
    if job.cancel_asked_at is None:
        Job.objects.filter(id=job.id).update(waiting_for="")
    Job.objects.filter(id=job.id, started_at=None).update(started_at=now)
    if news.event != "STEP" or news.step != job.step:
        history.note_news(job=job, news=news, now=now)
    if news.is_end:
        job.refresh_from_db()
        _end(job, news, now, is_late=is_late)
    settlement.tell(job=job)
    return True


def _told(news: SanitizedReport, now: datetime) -> dict[str, Any]:
    """The report's content as columns of its job."""
    fields: dict[str, Any] = {"heard_at": now, "progress": news.progress, "step": news.step}
    if not news.is_end:
        return fields | {"sequence": news.sequence}
    return fields | {
        **news.error_columns(),
        "is_retryable": news.is_retryable,
        "console_tail": news.console_tail,
    }


def _end(job: Job, news: SanitizedReport, now: datetime, *, is_late: bool) -> None:
    settle = settlement.settle_late if is_late else settlement.settle
    settle(job=job, news=news, now=now)
    detail = tell_all([GIVEN_UP, news.error_message]) if is_late else news.error_message
    history.record(job=job, action=f"{job.kind}_{job.status}", now=now, detail=detail)


def _note_cancel_heard(job: Job, news: SanitizedReport, now: datetime) -> bool:
    """Store what the host answers to a cancellation; the job stays open until its end is reported."""
    if not Job.objects.filter(id=job.id, status__in=(Job.Status.QUEUED, Job.Status.RUNNING)).update(
        waiting_for=news.error_message
    ):
        return False
    history.note_news(job=job, news=news, now=now)
    settlement.tell(job=job)
    return True


# --- sweeping ----------------------------------------------------------------------------------


def sweep(*, now: datetime) -> dict[str, int]:
    """Periodic work: place pending jobs, end unanswered ones, send orders again. Return counts by step.

    Does nothing while a restored database waits for staff.
    """
    if restores.is_held():
        return {"placed": 0, "given_up": 0, "sent": 0, "moves": 0}
    return {
        "placed": rounds.once("placing", lambda: _place_waiting(now), now=now),
        "given_up": rounds.once("giving up", lambda: _give_up(now), now=now),
        "sent": rounds.once("sending", lambda: _send_again(now), now=now),
        "moves": kinds.sweep(now=now) + kinds.run_follow_ups(now=now),
    }


def _send_again(now: datetime) -> int:
    is_away = False

    def send(job_id: UUID) -> int:
        nonlocal is_away
        if is_away:
            return 0  # the broker will not be back for this one either
        outcome = dispatch.send(job_id=job_id, now=now)
        is_away = outcome == kinds.Outcome.BROKER_AWAY
        return outcome == kinds.Outcome.SENT

    due = list(timeouts.due_again(now=now).values_list("id", flat=True))
    return rounds.each("send", due, send, now=now)


def _give_up(now: datetime) -> int:
    def end(job: Job) -> int:
        said = timeouts.why_given_up(job=job, now=now)
        return bool(said) and _end_unanswered(job, said, now)

    return rounds.each("give up", timeouts.unanswered(now=now), end, now=now, about=_id)


@transaction.atomic
def _end_unanswered(job: Job, said: str, now: datetime) -> bool:
    """End a job whose result is not known; its quota, memory and addresses stay reserved."""
    end = NoAnswerError(tell_all([said, Message("OUTCOME_UNKNOWN")]))
    why = end.message
    still = Q(status=job.status)
    error = {"error_code": end.code, "error_message": why}
    if not status.change(job_id=job.id, event=Event.NOT_ANSWERED, now=now, still=still, **error):
        return False
    history.note(job=job, event=Job.Status.FAILED, now=now, step=job.step, message=why)
    settlement.leave_open(job=job, why=why, now=now)
    history.record(job=job, action=f"{job.kind}_{Job.Status.FAILED}", now=now, detail=why)
    settlement.tell(job=job)
    return True

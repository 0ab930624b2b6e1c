"""Open a job: its row, first event, audit entry and fencing token.

The caller has checked that the action is allowed.
"""

from datetime import datetime

from django.db import IntegrityError, transaction

from webxen.accounts.models import User
from webxen.core import after_commit
from webxen.core.errors import UserError
from webxen.core.messages import Message, tell_all
from webxen.inventory import restores
from webxen.jobs import dispatch, history, queries, settlement
from webxen.jobs.models import Job
from webxen.machines.models import Machine


class ActionRefusedError(UserError):
    """The machine's state does not allow the action; the message names the state."""

    code = "ACTION_REFUSED"


class AlreadyDoneError(UserError):
    """The machine is already in the state that the action leads to."""

    code = "ALREADY_DONE"


class JobOpenError(UserError):
    """The machine has another open job; `members` has its id if known."""

    code = "JOB_OPEN"


def open_job(
    machine: Machine, kind: str, status: str, user: User | None, now: datetime, *, policy: str = ""
) -> Job:
    """Create the job; a constraint allows one open job per machine.

    Raises JobOpenError, RestoredError.
    """
    restores.refuse_while_held()
    fence = machine.fence if kind == Job.Kind.CREATE else machine.fence + 1
    try:
        with transaction.atomic():
            job = Job.objects.create(
                kind=kind,
                machine=machine,
                host=machine.host,
                requested_by=user,
                policy=policy,
                status=status,
                fence=fence,
                created_at=now,
            )
    except IntegrityError:
        raise job_in_the_way(machine, queries.open_job_of(machine_id=machine.id)) from None
    history.note(job=job, event=status, now=now)
    history.record(job=job, action=f"{kind}_MACHINE", now=now)
    settlement.tell(job=job)
    return job


def lift_fence(job: Job) -> None:
    """Raise the machine's fencing token to the job's. Raises JobOpenError.

    Every job raises the token: an unchanged token means that what was checked before is still true.
    """
    machine = job.machine
    if not Machine.objects.filter(id=machine.id, fence=job.fence - 1).update(fence=job.fence):
        raise JobOpenError(Message("MACHINE_CHANGED", name=machine.name))


def send_once_committed(job: Job, now: datetime) -> None:
    """Send the job's order after the transaction commits. Never raises."""
    after_commit.run(lambda: dispatch.send(job_id=job.id, now=now), about=f"sending job {job.id}")


def not_possible(machine: Machine, kind: str, why: str) -> ActionRefusedError:
    """Return the error that names the machine, the job that is not possible, and why."""
    return ActionRefusedError(tell_all([Message("NOT_POSSIBLE_NOW", name=machine.name, job=kind), why]))


def job_in_the_way(machine: Machine, job: Job | None) -> JobOpenError:
    """Return the error that names the machine's open job; None: it has just ended."""
    if job is None:
        return JobOpenError(Message("MACHINE_BUSY", name=machine.name))
    why = Message("MACHINE_JOB_OPEN", name=machine.name, job=job.kind)
    return JobOpenError(why, members={"job": str(job.id)})

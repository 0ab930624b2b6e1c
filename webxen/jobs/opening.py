"""Opening a job: the row, its first event and line in the audit, and the fence that goes with it.

Which verb may be asked when is told by its own operation; here it is written down that it was.
"""

from datetime import datetime

from django.db import IntegrityError, transaction

from webxen.accounts.models import User
from webxen.core import after_commit
from webxen.core.errors import UserError
from webxen.inventory import restores
from webxen.jobs import dispatch, history, queries, settlement
from webxen.jobs.models import Job
from webxen.machines.models import Machine


class ActionRefusedError(UserError):
    """The machine is in no condition for this; the sentence says in which it is."""

    code = "ACTION_REFUSED"


class AlreadyDoneError(UserError):
    """The machine is already as the action would leave it."""

    code = "ALREADY_DONE"


class JobOpenError(UserError):
    """Another job is open for this machine; `members` names it where it is known."""

    code = "JOB_OPEN"


def open_job(
    machine: Machine, kind: str, status: str, user: User | None, now: datetime, *, policy: str = ""
) -> Job:
    """Write the job down; the database allows one open job a machine.

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
    """Raise the machine's fence to the job's.

    The row is ours alone, and every job lifts the fence: an unchanged fence means that what was
    judged before is still true.
    """
    machine = job.machine
    if not Machine.objects.filter(id=machine.id, fence=job.fence - 1).update(fence=job.fence):
        raise JobOpenError(f"Somebody else acted on {machine.name} a moment ago. Look at it again.")


def send_once_committed(job: Job, now: datetime) -> None:
    after_commit.run(lambda: dispatch.send(job_id=job.id, now=now), about=f"sending job {job.id}")


def job_in_the_way(machine: Machine, job: Job | None) -> JobOpenError:
    """The refusal that names the machine's open job; None: it has just ended."""
    if job is None:
        return JobOpenError(f"A job is open for {machine.name}. Wait until it ends.")
    why = f"A job is open for {machine.name}: {job.kind.lower()}. Wait until it ends."
    return JobOpenError(why, members={"job": str(job.id)})

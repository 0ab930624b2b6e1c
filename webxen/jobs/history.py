"""Write job events and audit entries of jobs. Changes no job."""

from datetime import datetime

from webxen.accounts.models import User
from webxen.core import audit
from webxen.jobs.models import Job, JobEvent
from webxen.jobs.reports import SanitizedReport


def note(*, job: Job, event: str, now: datetime, step: str = "", message: str = "") -> None:
    """Add an event to the job."""
    JobEvent.objects.create(job=job, at=now, event=event, step=step, message=message)


def count(*, job: Job, event: str) -> int:
    """How many events of this name the job has."""
    return JobEvent.objects.filter(job=job, event=event).count()


def note_news(*, job: Job, news: SanitizedReport, now: datetime) -> None:
    """Add an event with the content of a host's report."""
    JobEvent.objects.create(
        job=job, at=now, event=news.event, step=news.step, progress=news.progress, message=news.error_message
    )


def record(*, job: Job, action: str, now: datetime, detail: str = "", actor: User | None = None) -> None:
    """Write an audit entry; the actor is the requester of the job unless another is given."""
    audit.record(
        actor=actor or job.requested_by,
        policy="" if actor else job.policy,
        action=action,
        target_kind="machine",
        target_id=str(job.machine_id),
        target_name=job.machine.name,
        detail=detail,
        now=now,
    )

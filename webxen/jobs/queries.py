"""Query jobs. Every query for a user starts from `visible_to`."""

import itertools
import logging
from collections.abc import Collection, Iterable
from uuid import UUID

from django.db.models import Exists, OuterRef, QuerySet

from webxen.accounts import queries as accounts
from webxen.accounts.models import User
from webxen.core.errors import NotFoundError
from webxen.core.messages import Message
from webxen.inventory import queries as inventory
from webxen.inventory.models import Host
from webxen.jobs import kinds
from webxen.jobs.models import Job
from webxen.jobs.reports import SanitizedReport
from webxen.machines import figures as machine_figures
from webxen.machines.models import Machine
from worker import contract

log = logging.getLogger(__name__)

#: maximum time that a request may wait for a job
MAX_WAIT_SECONDS = 60.0


def visible_to(*, user: User) -> QuerySet[Job]:
    """Jobs of the user's projects; all for staff.

    Includes jobs of deleted machines, because clients wait for the last one.
    """
    found = Job.objects.select_related(
        "machine", "machine__project", "host", "requested_by", *kinds.related()
    )
    if not user.is_staff:
        projects = accounts.sight_of(user=user).projects
        if machine_figures.are_many(projects=projects):
            # job by job, the newest first: SQLite would begin with all machines of the projects
            theirs = Machine.objects.filter(id=OuterRef("machine"), project__in=projects)
            found = found.filter(Exists(theirs))
        else:
            found = found.filter(machine__project__in=projects)
    hosts = (inventory.all_it_says(path) for path in ("host", *kinds.related()))
    return found.defer(*itertools.chain(*hosts))


def of_status(found: QuerySet[Job], status: str) -> QuerySet[Job]:
    """Jobs of this status; FAILED includes ERROR, as both ended badly."""
    wanted = Job.ENDED_BADLY if status == Job.Status.FAILED else (status,)
    return found.filter(status__in=wanted)


def get_visible(*, user: User, id: UUID) -> Job:
    """Return a job. Raises NotFoundError if it is not visible to the user."""
    job = visible_to(user=user).filter(id=id).first()
    if job is None:
        raise NotFoundError
    return job


def open_jobs_of(*, machine_ids: Iterable[UUID]) -> dict[UUID, Job]:
    """Return the open job of each machine that has one. The caller checks visibility."""
    found = Job.objects.filter(machine__in=list(machine_ids), status__in=Job.OPEN)
    jobs = found.select_related("machine", "host", "requested_by").defer(*inventory.all_it_says("host"))
    return {job.machine_id: job for job in jobs}


def ids_of_busy_machines() -> set[UUID]:
    """Machines that have an open job, whichever they are."""
    return set(Job.objects.filter(status__in=Job.OPEN).values_list("machine_id", flat=True))


def open_job_of(*, machine_id: UUID) -> Job | None:
    """The machine's open job, or None. The caller checks visibility."""
    return open_jobs_of(machine_ids=[machine_id]).get(machine_id)


def placed_on(*, machine_id: UUID) -> str:
    """Name of the host that was chosen when the machine was created; "" if none was."""
    created = Job.objects.filter(machine_id=machine_id, kind=Job.Kind.CREATE)
    return created.values_list("host__name", flat=True).first() or ""


def why_not_cancellable(job: Job) -> str:
    """Return why a job cannot be cancelled, or ""."""
    if job.status not in Job.OPEN:
        return Message("JOB_ENDED", end=job.status)
    verb = contract.VERBS.get(job.kind)
    if verb is not None and not verb.can_stop and job.started_at is not None:
        return Message("JOB_NOT_INTERRUPTIBLE", job=job.kind)
    return kinds.why_too_late(job=job)


def reported_job(*, host: Host, news: SanitizedReport) -> Job | None:
    """Return the job that a report is about; None, with a log line, if it is not this host's."""
    jobs = Job.objects.select_related("machine", "host", "requested_by")
    job = None if news.job_id is None else jobs.filter(id=news.job_id).first()
    if job is None:
        log.warning("%s reports on a job nobody knows: dropped", host.name)
        return None
    if not inventory.is_accepted(host=host):
        log.warning("%s reports on job %s, but is not accepted: dropped", host.name, job.id)
        return None
    if job.host_id != host.id or job.machine_id != news.machine_id:
        log.warning("%s reports on job %s, which is not its own: dropped", host.name, job.id)
        return None
    return job


def still_open(job_ids: Collection[UUID]) -> set[UUID]:
    """Return which of these jobs have not ended. The caller checks visibility."""
    return set(Job.objects.filter(id__in=job_ids, status__in=Job.OPEN).values_list("id", flat=True))

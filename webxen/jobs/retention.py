"""Jobs that ended long ago, to be deleted.

Of an existing machine, its create job and its newest job are kept; so are those that another app needs
(`kinds.keep`). settings.py checks that hosts' journals are kept for less time than jobs.
"""

from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Exists, OuterRef, Q, QuerySet

from webxen.core.retention import OldRows
from webxen.jobs import kinds
from webxen.jobs.models import Job, JobEvent
from webxen.machines.models import Machine


def old_rows(*, now: datetime) -> OldRows:
    events_before = now - timedelta(days=settings.WEBXEN_KEEP_EVENTS_DAYS)
    jobs = old_jobs(now=now)
    beside = [path for rules in kinds.registered().values() for path in rules.beside]
    return {
        "job events": JobEvent.objects.filter(Q(job__finished_at__lt=events_before) | Q(job__in=jobs)),
        "jobs": jobs.filter(events=None, **dict.fromkeys(beside)),
    }


def old_jobs(*, now: datetime) -> QuerySet[Job]:
    """Ended jobs that may be deleted, with their dependent rows."""
    before = now - timedelta(days=settings.WEBXEN_KEEP_JOBS_DAYS)
    newer = Job.objects.filter(machine=OuterRef("machine"), created_at__gt=OuterRef("created_at"))
    is_gone = Q(machine__state=Machine.State.DELETED, machine__deleted_at__lt=before)
    is_passed = Exists(newer) & ~Q(kind=Job.Kind.CREATE)
    needed = [~condition for condition in kinds.still_needed()]
    return Job.objects.filter(is_gone | is_passed, *needed, finished_at__lt=before)

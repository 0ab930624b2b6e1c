"""Jobs that ended long ago, with all that stands beside them.

Of a machine that exists the job that made it and its newest one stay; so does a move whose disks the source
still keeps. A host's journal is younger than any job that is forgotten here (settings.py sees to it).
"""

from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Exists, OuterRef, Q, QuerySet

from webxen.core.retention import OldRows
from webxen.jobs.models import Evacuation, EvacuationStep, Fencing, Job, JobEvent, Move, MoveSide
from webxen.machines.models import Machine


def old_rows(*, now: datetime) -> OldRows:
    before = now - timedelta(days=settings.WEBXEN_KEEP_JOBS_DAYS)
    events_before = now - timedelta(days=settings.WEBXEN_KEEP_EVENTS_DAYS)
    jobs = _old_jobs(before)
    return {
        "job events": JobEvent.objects.filter(Q(job__finished_at__lt=events_before) | Q(job__in=jobs)),
        "evacuation steps": EvacuationStep.objects.filter(evacuation__finished_at__lt=before),
        "evacuations": Evacuation.objects.filter(finished_at__lt=before, steps=None),
        "fencings": Fencing.objects.filter(finished_at__lt=before),
        "sides of moves": MoveSide.objects.filter(move__job__in=jobs),
        "moves": Move.objects.filter(job__in=jobs, sides=None),
        "jobs": jobs.filter(move=None, events=None),
    }


def _old_jobs(before: datetime) -> QuerySet[Job]:
    newer = Job.objects.filter(machine=OuterRef("machine"), created_at__gt=OuterRef("created_at"))
    unsettled = Move.objects.filter(
        ~Q(phase=Move.Phase.ENDED) | (Q(verdict=Move.Verdict.MOVED, discarded_at=None) & ~Q(copied=[])),
        job=OuterRef("pk"),
    )
    is_gone = Q(machine__state=Machine.State.DELETED, machine__deleted_at__lt=before)
    is_passed = Exists(newer) & ~Q(kind=Job.Kind.CREATE)
    return Job.objects.filter(
        is_gone | is_passed,
        ~Exists(unsettled),
        ~Exists(EvacuationStep.objects.filter(job=OuterRef("pk"))),
        finished_at__lt=before,
    )

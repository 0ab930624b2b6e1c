"""Migrations of jobs that are old enough to be deleted."""

from datetime import datetime

from webxen.core.retention import OldRows
from webxen.jobs.retention import old_jobs
from webxen.migration.models import Move, MoveSide


def old_rows(*, now: datetime) -> OldRows:
    jobs = old_jobs(now=now)
    return {
        "sides of moves": MoveSide.objects.filter(move__job__in=jobs),
        "moves": Move.objects.filter(job__in=jobs, sides=None),
    }

"""Evacuations and fencings that ended long ago, to be deleted."""

from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Exists, OuterRef

from webxen.core.retention import OldRows
from webxen.fleet.models import Evacuation, EvacuationStep, Fencing


def is_a_step() -> Exists:
    """Jobs that an evacuation shows as one of its steps."""
    return Exists(EvacuationStep.objects.filter(job=OuterRef("pk")))


def old_rows(*, now: datetime) -> OldRows:
    before = now - timedelta(days=settings.WEBXEN_KEEP_JOBS_DAYS)
    return {
        "evacuation steps": EvacuationStep.objects.filter(evacuation__finished_at__lt=before),
        "evacuations": Evacuation.objects.filter(finished_at__lt=before, steps=None),
        "fencings": Fencing.objects.filter(finished_at__lt=before),
    }

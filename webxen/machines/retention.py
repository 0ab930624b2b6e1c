"""Transitions of long-deleted machines, to be deleted. The machine's own row is kept forever: its id may
still be on a host's disk and must not look foreign.
"""

from datetime import datetime, timedelta

from django.conf import settings

from webxen.core.retention import OldRows
from webxen.machines.models import Machine, MachineMove


def old_rows(*, now: datetime) -> OldRows:
    before = now - timedelta(days=settings.WEBXEN_KEEP_JOBS_DAYS)
    gone = {"machine__state": Machine.State.DELETED, "machine__deleted_at__lt": before}
    return {"machine transitions": MachineMove.objects.filter(at__lt=before, **gone)}

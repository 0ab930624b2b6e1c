"""Requests decided long ago, to be deleted; that of an existing machine is kept."""

from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Q

from webxen.approvals.models import MachineRequest, QuotaRequest
from webxen.core.retention import OldRows
from webxen.machines.models import Machine


def old_rows(*, now: datetime) -> OldRows:
    before = now - timedelta(days=settings.WEBXEN_KEEP_JOBS_DAYS)
    is_gone = Q(machine=None) | Q(machine__state=Machine.State.DELETED, machine__deleted_at__lt=before)
    return {
        "requests": MachineRequest.objects.filter(is_gone, decided_at__lt=before),
        "quota requests": QuotaRequest.objects.filter(decided_at__lt=before),
    }

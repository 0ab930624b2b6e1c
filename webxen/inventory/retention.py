"""Enrolment tokens that are old enough to be deleted."""

from datetime import datetime, timedelta

from webxen.core.retention import OldRows
from webxen.inventory.models import JoinToken

KEPT_FOR = timedelta(days=30)


def old_rows(*, now: datetime) -> OldRows:
    return {"join tokens": JoinToken.objects.filter(expires_at__lt=now - KEPT_FOR)}

"""What of the ground's own rows is old enough to be forgotten, and what all rooms' such modules share."""

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.sessions.models import Session
from django.db.models import QuerySet

from webxen.core.models import AuditEntry

#: what is told to be old, by name, in the order in which it may be deleted
OldRows = dict[str, QuerySet[Any]]


def old_rows(*, now: datetime) -> OldRows:
    return {
        "sessions": Session.objects.filter(expire_date__lt=now),
        "audit": AuditEntry.objects.filter(at__lt=now - timedelta(days=settings.WEBXEN_KEEP_AUDIT_DAYS)),
    }

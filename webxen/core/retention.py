"""Rows of core that are old enough to be deleted, and the type shared by all retention modules."""

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.sessions.models import Session
from django.db.models import QuerySet

from webxen.core.models import AuditEntry

#: rows to delete by name, in the order of deletion
OldRows = dict[str, QuerySet[Any]]


def old_rows(*, now: datetime) -> OldRows:
    return {
        "sessions": Session.objects.filter(expire_date__lt=now),
        "audit": AuditEntry.objects.filter(at__lt=now - timedelta(days=settings.WEBXEN_KEEP_AUDIT_DAYS)),
    }

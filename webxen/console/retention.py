"""Expired console tickets, to be deleted."""

from datetime import datetime

from webxen.console.models import ConsoleTicket
from webxen.core.retention import OldRows


def old_rows(*, now: datetime) -> OldRows:
    return {"console tickets": ConsoleTicket.objects.filter(expires_at__lte=now)}

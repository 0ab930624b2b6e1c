"""Record when messages of a host were last dropped because it sent too many, and report it to staff."""

from datetime import datetime, timedelta
from typing import Literal

from django.db.models import Q

from webxen.core import events
from webxen.inventory.models import Host

#: a flood is detected every few seconds; the time is written at most this often
ONE_NOTE = timedelta(minutes=1)
#: staff sees the notice for this long
TOLD_FOR = timedelta(days=1)

What = Literal["reports", "console"]
COLUMNS: dict[What, str] = {"reports": "reports_dropped_at", "console": "console_skipped_at"}


def note(*, name: str, what: What, now: datetime) -> bool:
    """Record that something of this host was dropped; return False if that was recorded recently."""
    column = COLUMNS[what]
    is_news = Q(**{column: None}) | Q(**{f"{column}__lte": now - ONE_NOTE}) | Q(**{f"{column}__gt": now})
    host = Host.objects.filter(is_news, name=name).only("id").first()
    if host is None or not Host.objects.filter(is_news, id=host.id).update(**{column: now}):
        return False
    events.publish(kind="host", id=str(host.id))
    return True


def told_of(*, host: Host, now: datetime) -> dict[What, datetime]:
    """Return what was dropped within TOLD_FOR, with the last time; empty if nothing was."""
    found = {what: getattr(host, column) for what, column in COLUMNS.items()}
    return {what: at for what, at in found.items() if at is not None and now - at < TOLD_FOR}

"""Hosts that say more than is read: when what of theirs was dropped last, for staff to see. Written here."""

from datetime import datetime, timedelta
from typing import Literal

from django.db.models import Q

from webxen.core import events
from webxen.inventory.models import Host

#: a flood is noticed every few seconds: the time is written so often at the most
ONE_NOTE = timedelta(minutes=1)
#: for so long staff is told
TOLD_FOR = timedelta(days=1)

What = Literal["reports", "console"]
COLUMNS: dict[What, str] = {"reports": "reports_dropped_at", "console": "console_skipped_at"}


def note(*, name: str, what: What, now: datetime) -> bool:
    """Something of this host's was dropped just now. False: that was written down a moment ago."""
    column = COLUMNS[what]
    is_news = Q(**{column: None}) | Q(**{f"{column}__lte": now - ONE_NOTE}) | Q(**{f"{column}__gt": now})
    host = Host.objects.filter(is_news, name=name).only("id").first()
    if host is None or not Host.objects.filter(is_news, id=host.id).update(**{column: now}):
        return False
    events.publish(kind="host", id=str(host.id))
    return True


def told_of(*, host: Host, now: datetime) -> dict[What, datetime]:
    """What was dropped lately, and when for the last time; empty: nothing."""
    found = {what: getattr(host, column) for what, column in COLUMNS.items()}
    return {what: at for what, at in found.items() if at is not None and now - at < TOLD_FOR}

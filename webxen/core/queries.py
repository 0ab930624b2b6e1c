"""Reading the audit. Nothing is written here."""

import contextlib
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet

from webxen.core.models import AuditEntry

#: what lines may be looked for by, and the column that holds it; each has an index
AUDIT_FILTERS = {
    "actor": "actor__username",
    "action": "action",
    "target": "target_id",
    "token": "token_id",
    "request_id": "request_id",
    "address": "address",
    "since": "at__gte",
    "before": "at__lt",
    "older_than": "id__lt",
}
#: columns of short words that are written on a line, whose word is looked for as it is
MARKS = ("address", "request_id", "target_id")


def audit_visible_to(*, user: Any, **wanted: Any) -> QuerySet[AuditEntry]:
    """Staff sees every line, others their own. `user` is a User; the ground does not know that class.

    `wanted`: names of AUDIT_FILTERS, each with the value to look for.
    """
    entries = AuditEntry.objects.select_related("actor")
    if not user.is_staff:
        entries = entries.filter(actor=user)
    return entries.filter(**{AUDIT_FILTERS[name]: value for name, value in wanted.items()})


def marked(entries: QuerySet[AuditEntry], *, mark: str) -> QuerySet[AuditEntry]:
    """Those that carry this as their address, request, token or target; one word, as a person pastes it."""
    found = Q()
    for column in MARKS:
        found |= Q(**{column: mark})
    with contextlib.suppress(ValueError):
        found |= Q(token_id=UUID(mark))
    return entries.filter(found)


def has_room_for(*, action: str, since: datetime, most: int) -> bool:
    """Whether there are fewer than so many lines of this action since then."""
    # the newest lines of the action, by its index: no count over all that was ever written
    recent = AuditEntry.objects.filter(action=action).order_by("-id").values_list("at", flat=True)
    last = recent[most - 1 : most].first()
    return last is None or last <= since


def audit_between(*, since: datetime | None, before: datetime | None) -> Iterator[AuditEntry]:
    """Every line from `since` on and before `before`, the oldest first, a few at a time."""
    entries = AuditEntry.objects.select_related("actor").order_by("id")
    if since is not None:
        entries = entries.filter(at__gte=since)
    if before is not None:
        entries = entries.filter(at__lt=before)
    return entries.iterator(chunk_size=2000)

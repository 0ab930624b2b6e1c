"""Query the audit."""

import contextlib
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet

from webxen.core.models import AuditEntry

#: search parameters and the column each uses; each column has an index
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
#: columns of identifiers, searched for an exact match
MARKS = ("address", "request_id", "target_id")


def audit_visible_to(*, user: Any, **wanted: Any) -> QuerySet[AuditEntry]:
    """Return the entries a User may see: all for staff, their own for others.

    `wanted`: names of AUDIT_FILTERS with the value to search for. `user` is untyped because core does not
    import accounts.
    """
    entries = AuditEntry.objects.select_related("actor")
    if not user.is_staff:
        entries = entries.filter(actor=user)
    return entries.filter(**{AUDIT_FILTERS[name]: value for name, value in wanted.items()})


def marked(entries: QuerySet[AuditEntry], *, mark: str) -> QuerySet[AuditEntry]:
    """Return the entries whose address, request, target or token equals `mark`."""
    found = Q()
    for column in MARKS:
        found |= Q(**{column: mark})
    with contextlib.suppress(ValueError):
        found |= Q(token_id=UUID(mark))
    return entries.filter(found)


def has_room_for(*, action: str, since: datetime, most: int) -> bool:
    """Whether there are fewer than `most` entries of this action since `since`."""
    # reads the newest entries of the action by its index instead of counting all
    recent = AuditEntry.objects.filter(action=action).order_by("-id").values_list("at", flat=True)
    last = recent[most - 1 : most].first()
    return last is None or last <= since


def audit_between(*, since: datetime | None, before: datetime | None) -> Iterator[AuditEntry]:
    """Yield all entries with `since` <= at < `before`, oldest first, loaded in chunks."""
    entries = AuditEntry.objects.select_related("actor").order_by("id")
    if since is not None:
        entries = entries.filter(at__gte=since)
    if before is not None:
        entries = entries.filter(at__lt=before)
    return entries.iterator(chunk_size=2000)

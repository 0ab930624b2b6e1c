"""Reading the audit. Nothing is written here."""

from typing import Any

from django.db.models import QuerySet

from webxen.core.models import AuditEntry


def audit_visible_to(*, user: Any) -> QuerySet[AuditEntry]:
    """Staff sees every line, others their own. `user` is a User; the ground does not know that class."""
    entries = AuditEntry.objects.select_related("actor")
    return entries if user.is_staff else entries.filter(actor=user)

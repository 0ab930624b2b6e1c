"""Writing the audit. Call it inside the transaction of what it tells about."""

from datetime import datetime
from typing import Any

from webxen.core.models import AuditEntry


def record(
    *,
    actor: Any,
    action: str,
    target_kind: str,
    target_id: str,
    target_name: str = "",
    detail: str = "",
    policy: str = "",
    now: datetime,
) -> None:
    """`actor` is a User, or None for a policy or the portal itself."""
    AuditEntry.objects.create(
        at=now,
        actor=actor,
        policy=policy,
        action=action,
        target_kind=target_kind,
        target_id=target_id,
        target_name=target_name,
        detail=detail,
    )

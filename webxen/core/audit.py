"""Writing the audit. Call it inside the transaction of what it tells about.

From where it was asked for (request, address, token) is taken from the request's context.
"""

from datetime import datetime
from typing import Any

from webxen.core import request_context
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
    request = request_context.current()
    AuditEntry.objects.create(
        at=now,
        actor=actor,
        policy=policy,
        action=action,
        target_kind=target_kind,
        target_id=target_id,
        target_name=target_name,
        detail=detail,
        request_id=request.request_id,
        address=request.address,
        token_id=request.token_id or None,
    )

"""Write audit entries. Call these functions inside the transaction of the change they record.

The request id, client address and API token are taken from the request's context.
"""

from datetime import datetime, timedelta
from typing import Any

from webxen.core import request_context
from webxen.core.models import AuditEntry

#: value of `policy` when someone used a command of manage.py on the portal's machine
COMMAND_LINE = "COMMAND_LINE"


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
    """Write one audit entry. `actor` is a User, or None for a policy, COMMAND_LINE or the portal itself."""
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


def record_unless_recent(
    *,
    actor: Any,
    action: str,
    target_kind: str,
    target_id: str,
    target_name: str = "",
    detail: str = "",
    now: datetime,
    within: timedelta,
) -> None:
    """Record a repeated action at most once per `within` for the same actor, target, address and token.

    Only earlier audit entries decide whether an entry is written; no value sent by the client does.
    """
    request = request_context.current()
    recent = AuditEntry.objects.filter(
        actor=actor,
        action=action,
        target_kind=target_kind,
        target_id=target_id,
        address=request.address,
        token_id=request.token_id or None,
        at__gt=now - within,
        at__lte=now,
    )
    if not recent.exists():
        record(
            actor=actor,
            action=action,
            target_kind=target_kind,
            target_id=target_id,
            target_name=target_name,
            detail=detail,
            now=now,
        )

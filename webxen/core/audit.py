"""Writing the audit. Call it inside the transaction of what it tells about.

From where it was asked for (request, address, token) is taken from the request's context.
"""

from datetime import datetime, timedelta
from typing import Any

from webxen.core import request_context
from webxen.core.models import AuditEntry

#: in place of a policy: somebody on the portal's own machine, with a command of manage.py
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
    """`actor` is a User, or None for a policy, COMMAND_LINE or the portal itself."""
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
    """Record what is done again and again, once in a while for each person, thing, address and token.

    Nothing the client says decides whether there is a line, only what the portal itself wrote down before.
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

"""Create and redeem tickets for console sockets."""

import hashlib
import secrets
from datetime import datetime, timedelta
from uuid import UUID

from webxen.accounts.models import ApiToken, User
from webxen.console.models import ConsoleTicket
from webxen.core import audit, request_context
from webxen.core.errors import UserError
from webxen.core.messages import Message
from webxen.machines.models import Machine

TICKET_LIFE = timedelta(seconds=60)
#: maximum number of unused tickets per user; the oldest are deleted
MOST_TICKETS = 50
#: a browser reconnects often: at most one audit entry within this time
ONE_VISIT = timedelta(minutes=10)
#: a ticket has 43 characters; much longer ones are not hashed
MOST_CHARACTERS = 100


class NoConsole(UserError):
    """The machine has no host yet."""

    code = "NO_CONSOLE"


def open_ticket(
    *, user: User, machine: Machine, now: datetime, token: ApiToken | None = None, session_key: str = ""
) -> tuple[str, datetime]:
    """Create a ticket for one socket; return it with its expiry. Only its hash is stored.

    `token` or `session_key`: the credential of the request. Raises NoConsole.
    """
    if machine.host_id is None:
        raise NoConsole(Message("NO_CONSOLE"))
    ConsoleTicket.objects.filter(expires_at__lte=now).delete()
    surplus = ConsoleTicket.objects.filter(user=user).order_by("-id")[MOST_TICKETS - 1 :]
    ConsoleTicket.objects.filter(id__in=[ticket.id for ticket in surplus]).delete()
    secret = secrets.token_urlsafe(32)
    expires_at = now + TICKET_LIFE
    ConsoleTicket.objects.create(
        secret_hash=_hash_of(secret),
        user=user,
        machine=machine,
        token=token,
        session_key=session_key,
        created_at=now,
        expires_at=expires_at,
    )
    return secret, expires_at


def redeem_ticket(*, secret: str, machine_id: UUID, now: datetime) -> ConsoleTicket | None:
    """Consume a ticket and return it if it is valid; None otherwise. Writes to the audit.

    A ticket presented twice is accepted once.
    """
    if not secret.isascii() or len(secret) > MOST_CHARACTERS:
        return None
    ticket = (
        ConsoleTicket.objects.select_related("user", "machine").filter(secret_hash=_hash_of(secret)).first()
    )
    if ticket is None or not ConsoleTicket.objects.filter(id=ticket.id).delete()[0]:
        return None
    if ticket.expires_at <= now or ticket.machine_id != machine_id or not ticket.user.is_active:
        return None
    if ticket.token_id is not None:
        request_context.note_token(ticket.token_id)
    audit.record_unless_recent(
        actor=ticket.user,
        action="OPEN_CONSOLE",
        target_kind="machine",
        target_id=str(machine_id),
        target_name=ticket.machine.name,
        now=now,
        within=ONE_VISIT,
    )
    return ticket


def _hash_of(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()

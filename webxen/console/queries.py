"""Reading for the console: may this person sit at this machine, and on which host is it."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from django.db.models import Q

from webxen.accounts import sessions
from webxen.accounts.models import ApiToken, User
from webxen.machines import queries as machines
from webxen.migration import queries as migration


def host_of(*, user: User, machine_id: UUID) -> str | None:
    """Name of the host the machine is on; None when the person may not look, or no longer."""
    if not user.is_active:
        return None
    machine = machines.visible_to(user=user).filter(id=machine_id).first()
    return machine.host.name if machine is not None and machine.host is not None else None


def is_deleted(*, user_id: int, machine_id: UUID) -> bool:
    """Is the machine gone, for somebody who may still see its project?"""
    user = User.objects.filter(pk=user_id, is_active=True).first()
    return user is not None and machines.find_deleted(user=user, id=machine_id) is not None


def came_from(*, machine_id: UUID) -> str:
    """Name of the host it was on before its last move; empty when it never moved."""
    return migration.moved_from(machine_id=machine_id)


def host_now(
    *,
    user_id: int,
    machine_id: UUID,
    token_id: UUID | None,
    now: datetime,
    session_keys: Collection[str] = (),
) -> str | None:
    """`host_of` for somebody who sat down a while ago, and may be anything by now.

    None as well once the token or one of the sessions that let the person in is no longer good.
    """
    people = [sessions.person_of(session_key=key) for key in session_keys]
    if not all(person is not None and person.pk == user_id for person in people):
        return None
    if token_id is not None:
        good = ApiToken.objects.filter(Q(expires_at=None) | Q(expires_at__gt=now), id=token_id)
        if not good.exists():
            return None
    user = User.objects.filter(pk=user_id).first()
    return host_of(user=user, machine_id=machine_id) if user is not None else None

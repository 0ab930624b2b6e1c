"""Queries of the console: whether the user may see the machine, and its host."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from django.db.models import Q

from webxen.accounts import sessions
from webxen.accounts.models import ApiToken, User
from webxen.machines import queries as machines
from webxen.migration import queries as migration


def host_of(*, user: User, machine_id: UUID) -> str | None:
    """Return the name of the machine's host; None if the user may not see it or it has no host."""
    if not user.is_active:
        return None
    machine = machines.visible_to(user=user).filter(id=machine_id).first()
    return machine.host.name if machine is not None and machine.host is not None else None


def is_deleted(*, user_id: int, machine_id: UUID) -> bool:
    """Whether the machine is deleted, for a user who may still see its project."""
    user = User.objects.filter(pk=user_id, is_active=True).first()
    return user is not None and machines.find_deleted(user=user, id=machine_id) is not None


def came_from(*, machine_id: UUID) -> str:
    """Name of the host it was on before its last migration; "" if it never migrated."""
    return migration.moved_from(machine_id=machine_id)


def host_now(
    *,
    user_id: int,
    machine_id: UUID,
    token_id: UUID | None,
    now: datetime,
    session_keys: Collection[str] = (),
) -> str | None:
    """As `host_of`, for a participant whose permissions may have changed.

    Also None if the API token or one of the sessions is no longer valid.
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

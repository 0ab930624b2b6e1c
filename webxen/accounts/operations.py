"""Writing people: projects, seats, tokens. What a token lets one do is judged at the doors."""

import secrets
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from django.contrib.sessions.models import Session
from django.db import transaction

from webxen.accounts import tokens
from webxen.accounts.models import ApiToken, Membership, Project, User
from webxen.core import audit
from webxen.core.errors import InvalidError, NotFoundError

#: scopes a token may be narrowed to; none at all means everything its person may
SCOPES = ("read",)
MAX_NAME = 80


@transaction.atomic
def create_token(
    *, user: User, name: str, scopes: Sequence[str] = (), expires_at: datetime | None, now: datetime
) -> tuple[ApiToken, str]:
    """Make a token; the secret in the answer is shown once and kept nowhere."""
    name = _check_token(name, scopes, expires_at, now)
    secret = tokens.PREFIX + secrets.token_urlsafe(32)
    token = ApiToken.objects.create(
        user=user,
        name=name,
        secret_hash=tokens.hash_of(secret=secret),
        scopes=sorted(set(scopes)),
        created_at=now,
        expires_at=expires_at,
    )
    audit.record(
        actor=user,
        action="CREATE_TOKEN",
        target_kind="token",
        target_id=str(token.id),
        target_name=name,
        detail=f"scopes: {', '.join(token.scopes) or 'all'}",
        now=now,
    )
    return token, secret


def _check_token(name: str, scopes: Sequence[str], expires_at: datetime | None, now: datetime) -> str:
    name = name.strip()
    fields: dict[str, list[str]] = {}
    if not name or len(name) > MAX_NAME or not name.isprintable():
        fields["name"] = [f"Give the token a name of 1 to {MAX_NAME} printable characters."]
    if unknown := sorted(set(scopes) - set(SCOPES)):
        fields["scopes"] = [f"There is no scope {unknown[0]!r}. Scopes: {', '.join(SCOPES)}."]
    if expires_at is not None and expires_at <= now:
        fields["expires_at"] = ["This time has passed."]
    if fields:
        raise InvalidError("The token cannot be made like this.", fields=fields)
    return name


@transaction.atomic
def revoke_token(*, user: User, token_id: UUID, now: datetime) -> None:
    """Delete one's own token; it opens nothing from this moment on."""
    token = ApiToken.objects.filter(user=user, id=token_id).first()
    if token is None:
        raise NotFoundError
    audit.record(
        actor=user,
        action="REVOKE_TOKEN",
        target_kind="token",
        target_id=str(token.id),
        target_name=token.name,
        now=now,
    )
    token.delete()


@transaction.atomic
def revoke_all_tokens(*, staff: User | None, now: datetime) -> int:
    """Delete every API token of everybody. Returns how many."""
    count = 0
    for token in ApiToken.objects.select_related("user"):
        audit.record(
            actor=staff,
            action="REVOKE_TOKEN",
            target_kind="token",
            target_id=str(token.id),
            target_name=token.name,
            detail=f"of {token.user.username}; the database was restored",
            now=now,
        )
        token.delete()
        count += 1
    return count


@transaction.atomic
def end_all_sessions(*, staff: User | None, now: datetime) -> int:
    """Sign everybody out. Returns how many sessions ended."""
    count, _ = Session.objects.all().delete()
    audit.record(
        actor=staff,
        action="END_SESSIONS",
        target_kind="session",
        target_id="all",
        detail=f"{count} sessions; the database was restored",
        now=now,
    )
    return count


@transaction.atomic
def create_project(
    *, slug: str, name: str, owner: User, members: Sequence[User] = (), now: datetime
) -> Project:
    """Make a project with its seats. It can hold no machine until it has a quota."""
    project = Project.objects.create(slug=slug, name=name, created_at=now)
    Membership.objects.create(user=owner, project=project, role=Membership.Role.OWNER)
    for member in members:
        Membership.objects.create(user=member, project=project, role=Membership.Role.MEMBER)
    audit.record(
        actor=None,
        action="CREATE_PROJECT",
        target_kind="project",
        target_id=str(project.id),
        target_name=name,
        now=now,
    )
    return project


def remember_ssh_keys(*, user: User, ssh_keys: Sequence[str], now: datetime) -> None:
    """Keep the keys of the last request, for the form to offer again."""
    text = "\n".join(ssh_keys)
    User.objects.filter(id=user.id).exclude(last_ssh_keys=text).update(last_ssh_keys=text)

"""Create projects, memberships and API tokens; revoke tokens; set passwords.

Entry points enforce the scopes of a token.
"""

import secrets
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import transaction
from django.db.models import Q

from webxen.accounts import queries, tokens
from webxen.accounts.models import ApiToken, Membership, Project, User
from webxen.core import audit
from webxen.core.errors import ForbiddenError, InvalidError, NotFoundError, UserError
from webxen.core.messages import Message

#: scopes a token may be limited to; a token without scopes may do everything its user may
SCOPES = ("read",)
MAX_NAME = 80


class TooManyTokensError(UserError):
    """The user has reached the maximum number of tokens."""

    code = "TOO_MANY_TOKENS"


@transaction.atomic
def create_token(
    *,
    user: User,
    name: str,
    scopes: Sequence[str] = (),
    expires_at: datetime | None,
    now: datetime,
    parent: ApiToken | None = None,
) -> tuple[ApiToken, str]:
    """Create a token; return it with its secret, which is not stored.

    `parent`: the token of the request. The new token has no wider scopes, expires no later and is revoked
    with it. Raises InvalidError, TooManyTokensError, or ForbiddenError if the parent was revoked meanwhile.
    """
    if parent is not None and expires_at is None:
        expires_at = parent.expires_at
    name = _check_token(name, scopes, expires_at, parent, now)
    # serialized per user, so that the limit holds
    User.objects.select_for_update().get(id=user.id)
    _check_room(user, parent, now)
    secret = tokens.PREFIX + secrets.token_urlsafe(32)
    token = ApiToken.objects.create(
        user=user,
        name=name,
        secret_hash=tokens.hash_of(secret=secret),
        scopes=sorted(set(scopes)),
        created_at=now,
        expires_at=expires_at,
        parent=parent,
    )
    made_with = f"; made with the token {parent.id}" if parent else ""
    _audit_token(
        user, "CREATE_TOKEN", token, f"scopes: {', '.join(token.scopes) or 'all'}{made_with}", now=now
    )
    return token, secret


def _check_room(user: User, parent: ApiToken | None, now: datetime) -> None:
    if parent is not None and not ApiToken.objects.select_for_update().filter(id=parent.id).exists():
        raise ForbiddenError(Message("TOKEN_REVOKED_MEANWHILE"))
    living = ApiToken.objects.filter(Q(expires_at=None) | Q(expires_at__gt=now), user=user)
    if living.count() >= settings.WEBXEN_TOKENS_PER_PERSON:
        most = settings.WEBXEN_TOKENS_PER_PERSON
        raise TooManyTokensError(Message("TOO_MANY_TOKENS", n=most))


def _check_token(
    name: str, scopes: Sequence[str], expires_at: datetime | None, parent: ApiToken | None, now: datetime
) -> str:
    name = name.strip()
    fields: dict[str, list[str]] = {}
    if not name or len(name) > MAX_NAME or not name.isprintable():
        fields["name"] = [Message("TOKEN_NAME_INVALID", max_length=MAX_NAME)]
    if unknown := sorted(set(scopes) - set(SCOPES)):
        fields["scopes"] = [Message("SCOPE_UNKNOWN", name=unknown[0], scopes=SCOPES)]
    elif (
        parent is not None and parent.scopes and not set(scopes) & set(parent.scopes) == set(scopes) != set()
    ):
        fields["scopes"] = [Message("TOKEN_SCOPE_WIDER")]
    if expires_at is not None and expires_at <= now:
        fields["expires_at"] = [Message("TIME_PASSED")]
    elif parent is not None and parent.expires_at and expires_at and expires_at > parent.expires_at:
        fields["expires_at"] = [Message("TOKEN_OUTLIVES")]
    if fields:
        raise InvalidError(Message("TOKEN_INVALID"), fields=fields)
    return name


@transaction.atomic
def revoke_token(*, user: User, token_id: UUID, now: datetime) -> None:
    """Delete a token visible to the user, and the tokens created with it; they stop authenticating at once.

    Users see their own tokens, staff sees all. Raises NotFoundError.
    """
    token = queries.tokens_visible_to(user=user).filter(id=token_id).first()
    if token is None:
        raise NotFoundError
    _revoke(user, token, now)


@transaction.atomic
def revoke_any_token(*, token_id: UUID, now: datetime) -> bool:
    """Delete any token and those created with it, for the command line; return False if there is none."""
    token = queries.tokens(of=None).filter(id=token_id).first()
    if token is not None:
        _revoke(None, token, now)
    return token is not None


@transaction.atomic
def revoke_tokens_of(*, person: User, by: User | None, now: datetime) -> int:
    """Delete all tokens of a user; return their number. `by` None: on the command line."""
    found = list(ApiToken.objects.filter(user=person))
    for token in found:
        _audit_token(by, "REVOKE_TOKEN", token, _whose(by, token), now=now)
    ApiToken.objects.filter(user=person).delete()
    return len(found)


def _revoke(user: User | None, token: ApiToken, now: datetime) -> None:
    detail = _whose(user, token)
    _audit_token(user, "REVOKE_TOKEN", token, detail, now=now)
    older = [token]
    while older:
        older = list(ApiToken.objects.select_related("user").filter(parent__in=older))
        for child in older:
            _audit_token(user, "REVOKE_TOKEN", child, f"made with the token {token.id}", now=now)
    token.delete()


def _whose(actor: User | None, token: ApiToken) -> str:
    return "" if actor is not None and token.user_id == actor.id else f"of {token.user.username}"


def _audit_token(actor: User | None, action: str, token: ApiToken, detail: str, *, now: datetime) -> None:
    audit.record(
        actor=actor,
        policy="" if actor else audit.COMMAND_LINE,
        action=action,
        target_kind="token",
        target_id=str(token.id),
        target_name=token.name,
        detail=detail,
        now=now,
    )


@transaction.atomic
def revoke_all_tokens(*, staff: User | None, now: datetime) -> int:
    """Delete the API tokens of all users; return their number."""
    count = 0
    for token in ApiToken.objects.select_related("user"):
        audit.record(
            actor=staff,
            action="REVOKE_TOKEN",
            target_kind="token",
            target_id=str(token.id),
            target_name=token.name,
            detail=Message("TOKEN_OF_PERSON", name=token.user.username),
            now=now,
        )
        token.delete()
        count += 1
    return count


@transaction.atomic
def end_all_sessions(*, staff: User | None, now: datetime) -> int:
    """Delete all browser sessions; return their number."""
    count, _ = Session.objects.all().delete()
    audit.record(
        actor=staff,
        action="END_SESSIONS",
        target_kind="session",
        target_id="all",
        detail=Message("SESSIONS_ENDED", n=count),
        now=now,
    )
    return count


@transaction.atomic
def create_project(
    *, slug: str, name: str, owner: User, members: Sequence[User] = (), now: datetime
) -> Project:
    """Create a project with its memberships. It can have no machines until it has a quota."""
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


@transaction.atomic
def set_password(*, user: User, password: str, now: datetime) -> None:
    """Set a user's password from the command line; the audit records no actor."""
    user.set_password(password)
    user.save(update_fields=["password"])
    audit.record(
        actor=None,
        policy=audit.COMMAND_LINE,
        action="CHANGE_PASSWORD",
        target_kind="user",
        target_id=str(user.pk),
        target_name=user.username,
        now=now,
    )


def remember_ssh_keys(*, user: User, ssh_keys: Sequence[str], now: datetime) -> None:
    """Save the SSH keys of the last request, to prefill the next form."""
    text = "\n".join(ssh_keys)
    User.objects.filter(id=user.id).exclude(last_ssh_keys=text).update(last_ssh_keys=text)

"""Find the user of a bearer token. Tokens are created and revoked in operations."""

import hashlib
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.db.models import Q

from webxen.accounts.models import ApiToken, TokenAddress, User
from webxen.core import audit, request_context
from webxen.core.messages import Message

PREFIX = "wx_"
#: a secret has 3 + 43 characters; much longer ones are not hashed
MAX_SECRET = 100
#: last_used_at is updated at most this often, so that a busy script does not write with every request
USED_GRAIN = timedelta(minutes=1)
#: addresses recorded per token; use from further addresses is audited once
MOST_ADDRESSES = 100


def hash_of(*, secret: str) -> str:
    """Return the SHA-256 of a secret, in hex."""
    return hashlib.sha256(secret.encode()).hexdigest()


def user_for(*, secret: str, now: datetime) -> tuple[User, ApiToken] | None:
    """Return the token's user and the token; None if it is unknown, expired or its user is inactive."""
    if not secret.isascii() or not secret.startswith(PREFIX) or len(secret) > MAX_SECRET:
        return None
    token = (
        ApiToken.objects.select_related("user")
        .filter(Q(expires_at=None) | Q(expires_at__gt=now))
        .filter(secret_hash=hash_of(secret=secret), user__is_active=True)
        .first()
    )
    if token is None:
        return None
    _note_use(token, now)
    return token.user, token


def _note_use(token: ApiToken, now: datetime) -> None:
    address = request_context.current().address
    if address and address != token.last_address:
        _note_address(token, address, now)
    if token.last_used_at is None or now - token.last_used_at >= USED_GRAIN:
        ApiToken.objects.filter(id=token.id).update(last_used_at=now, last_address=address)


def _note_address(token: ApiToken, address: str, now: datetime) -> None:
    """Audit the first use from an address, up to MOST_ADDRESSES; audit once that there are more."""
    known = TokenAddress.objects.filter(token=token)
    if known.filter(address=address).exists() or known.count() > MOST_ADDRESSES:
        return
    has_room = known.count() < MOST_ADDRESSES
    detail = "" if has_room else Message("TOKEN_ADDRESSES_FULL", n=MOST_ADDRESSES)
    try:
        with transaction.atomic():
            TokenAddress.objects.create(token=token, address=address, first_used_at=now)
            request_context.note_token(token.id)
            audit.record(
                actor=token.user,
                action="USE_TOKEN",
                target_kind="token",
                target_id=str(token.id),
                target_name=token.name,
                detail=detail,
                now=now,
            )
    except IntegrityError:
        return  # a concurrent request recorded it

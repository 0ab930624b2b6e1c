"""Bearer tokens: from the secret to the person. Making and revoking one is in operations."""

import hashlib
from datetime import datetime, timedelta

from django.db.models import Q

from webxen.accounts.models import ApiToken, User

PREFIX = "wx_"
#: a secret is 3 + 43 characters; anything much longer is not worth hashing
MAX_SECRET = 100
#: last_used_at is kept to this grain, so that a busy script does not write a row a request
USED_GRAIN = timedelta(minutes=1)


def hash_of(*, secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def user_for(*, secret: str, now: datetime) -> tuple[User, ApiToken] | None:
    """Say whose token this is, or None: unknown, expired, or its person may no longer sign in."""
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
    if token.last_used_at is None or now - token.last_used_at >= USED_GRAIN:
        ApiToken.objects.filter(id=token.id).update(last_used_at=now)
    return token.user, token

"""Tokens that nobody can use any more, once nobody will ask about them either."""

from datetime import datetime, timedelta

from webxen.accounts.models import ApiToken
from webxen.core.retention import OldRows

KEPT_FOR = timedelta(days=90)


def old_rows(*, now: datetime) -> OldRows:
    """Expired tokens, with their addresses and what was made with them, which expired no later."""
    return {"tokens": ApiToken.objects.filter(expires_at__lt=now - KEPT_FOR)}

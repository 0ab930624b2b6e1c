"""Expired API tokens that are old enough to be deleted."""

from datetime import datetime, timedelta

from webxen.accounts.models import ApiToken
from webxen.core.retention import OldRows

KEPT_FOR = timedelta(days=90)


def old_rows(*, now: datetime) -> OldRows:
    """Tokens expired for KEPT_FOR. Their addresses and child tokens, which expired no later, go with them."""
    return {"tokens": ApiToken.objects.filter(expires_at__lt=now - KEPT_FOR)}

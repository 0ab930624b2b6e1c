"""Expired idempotency keys, to be deleted."""

from datetime import datetime

from webxen.api.models import IdempotencyKey
from webxen.core.retention import OldRows


def old_rows(*, now: datetime) -> OldRows:
    return {"idempotency keys": IdempotencyKey.old(now=now)}

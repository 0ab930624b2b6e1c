"""Answers that are kept for a POST told twice."""

from datetime import datetime

from webxen.api.models import IdempotencyKey
from webxen.core.retention import OldRows


def old_rows(*, now: datetime) -> OldRows:
    return {"idempotency keys": IdempotencyKey.old(now=now)}

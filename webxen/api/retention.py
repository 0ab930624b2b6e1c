"""Answers that are kept for a POST told twice."""

from datetime import datetime

from webxen.api.models import KEPT_FOR, IdempotencyKey
from webxen.core.retention import OldRows


def old_rows(*, now: datetime) -> OldRows:
    return {"idempotency keys": IdempotencyKey.objects.filter(created_at__lt=now - KEPT_FOR)}

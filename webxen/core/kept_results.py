"""Stored results of computations that take too long for a request: periodic tasks write them, pages show
them.
"""

from datetime import datetime
from typing import Any

from webxen.core.models import KeptResult


def keep(*, kind: str, data: Any, now: datetime) -> None:
    """Store this result in place of the previous one of its kind. `data`: a JSON value."""
    KeptResult.objects.update_or_create(kind=kind, defaults={"at": now, "data": data})


def latest(*, kind: str) -> KeptResult | None:
    """The last result of this kind, or None if it was not computed yet."""
    return KeptResult.objects.filter(kind=kind).first()

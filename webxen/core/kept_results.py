"""Results that take too long for a request: the clock computes them, pages show them with their time."""

from datetime import datetime
from typing import Any

from webxen.core.models import KeptResult


def keep(*, kind: str, data: Any, now: datetime) -> None:
    """Put this result in the place of the last one of its kind. `data`: what JSON can hold."""
    KeptResult.objects.update_or_create(kind=kind, defaults={"at": now, "data": data})


def latest(*, kind: str) -> KeptResult | None:
    """The last result of a kind; None: it was not computed yet."""
    return KeptResult.objects.filter(kind=kind).first()

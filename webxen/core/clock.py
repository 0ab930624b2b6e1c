"""The clock. Only doors read it; domain functions are told the time."""

from datetime import datetime

from django.utils import timezone


def now() -> datetime:
    return timezone.now()

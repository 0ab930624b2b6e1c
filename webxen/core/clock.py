"""The clock. Only entry points read it; domain functions take `now`."""

from datetime import datetime

from django.utils import timezone


def now() -> datetime:
    return timezone.now()

"""Rate limits of the API: per user, per token, per address without credentials, and for wrong tokens.

Counted over all web processes in fixed time windows, each with one counter that only increases, so that
concurrent requests cannot exceed the limit. The settings have the rates.
"""

import math
from abc import ABC, abstractmethod
from typing import Any

from django.conf import settings
from django.core.cache import cache
from rest_framework.request import Request
from rest_framework.throttling import SimpleRateThrottle

from webxen.accounts.models import ApiToken
from webxen.core.request_queue import network_of


class Counted(SimpleRateThrottle, ABC):
    """Counts requests in fixed time windows."""

    # set by the framework, from get_rate
    num_requests: int
    duration: int
    _seconds_left = 0.0

    def get_rate(self) -> str:
        rates: Any = settings.REST_FRAMEWORK["DEFAULT_THROTTLE_RATES"]
        return str(rates[self.scope])

    def allow_request(self, request: Request, view: Any) -> bool:
        ident = self.ident_of(request)
        return ident is None or self.count(ident)

    def count(self, ident: str) -> bool:
        """Count one request; return False if the limit is exceeded."""
        now = self.timer()
        self._seconds_left = self.duration - now % self.duration
        key = f"throttle.{self.scope}.{ident}.{int(now // self.duration)}"
        if cache.add(key, 1, timeout=self.duration + 1):
            return self.num_requests >= 1
        try:
            return int(cache.incr(key)) <= self.num_requests
        except ValueError:
            return True  # the counter has just expired

    def wait(self) -> float:
        """Seconds until the next window."""
        return math.ceil(self._seconds_left)

    @abstractmethod
    def ident_of(self, request: Request) -> str | None:
        """Return the key to count by; None: this request is not counted."""


class PersonThrottle(Counted):
    """All requests of one user."""

    scope = "person"

    def ident_of(self, request: Request) -> str | None:
        return str(request.user.pk) if request.user.is_authenticated else None


class TokenThrottle(Counted):
    """Requests with one token, so that one script cannot use up its user's limit."""

    scope = "token"

    def ident_of(self, request: Request) -> str | None:
        return str(request.auth.id) if isinstance(request.auth, ApiToken) else None


class AddressThrottle(Counted):
    """Requests of one address without credentials."""

    scope = "address"

    def ident_of(self, request: Request) -> str | None:
        return None if request.user.is_authenticated else _address(request)


class WrongTokenThrottle(Counted):
    """Wrong tokens of one address. A valid token is never refused because of wrong ones."""

    scope = "wrong_token"

    def ident_of(self, request: Request) -> str | None:
        return _address(request)


def _address(request: Request) -> str:
    return network_of(request.META.get("REMOTE_ADDR") or "")

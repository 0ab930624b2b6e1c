"""How often the API may be asked: by a person, by a token, by an address without either, with wrong tokens.

Counted over all web processes, in windows of the clock: a window's number is one counter that is only ever
raised, so requests at the same moment cannot both take the last place. Rates stand in the settings.
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
    """Requests counted in windows of the clock."""

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
        """Count one more; False where that is too many."""
        now = self.timer()
        self._seconds_left = self.duration - now % self.duration
        key = f"throttle.{self.scope}.{ident}.{int(now // self.duration)}"
        if cache.add(key, 1, timeout=self.duration + 1):
            return self.num_requests >= 1
        try:
            return int(cache.incr(key)) <= self.num_requests
        except ValueError:
            return True  # the counter has just ended

    def wait(self) -> float:
        """Seconds until the next window."""
        return math.ceil(self._seconds_left)

    @abstractmethod
    def ident_of(self, request: Request) -> str | None:
        """Who is counted; None: this request is not."""


class PersonThrottle(Counted):
    """A person, whatever they ask with."""

    scope = "person"

    def ident_of(self, request: Request) -> str | None:
        return str(request.user.pk) if request.user.is_authenticated else None


class TokenThrottle(Counted):
    """One token: a script that runs wild leaves its person the rest."""

    scope = "token"

    def ident_of(self, request: Request) -> str | None:
        return str(request.auth.id) if isinstance(request.auth, ApiToken) else None


class AddressThrottle(Counted):
    """An address that says no name."""

    scope = "address"

    def ident_of(self, request: Request) -> str | None:
        return None if request.user.is_authenticated else _address(request)


class WrongTokenThrottle(Counted):
    """An address that tries tokens. A good token is never refused for the wrong ones beside it."""

    scope = "wrong_token"

    def ident_of(self, request: Request) -> str | None:
        return _address(request)


def _address(request: Request) -> str:
    return network_of(request.META.get("REMOTE_ADDR") or "")

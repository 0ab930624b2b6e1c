"""How allauth behaves here: staff makes accounts, nobody signs up by himself."""

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.core import ratelimit
from allauth.core.exceptions import ImmediateHttpResponse
from django.core.exceptions import ValidationError
from django.http import HttpRequest

from webxen.core.turnstile import network_of


class ClosedSignup(DefaultAccountAdapter):  # type: ignore[misc]
    """No open registration: an account on a portal to root machines is given, not taken."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """Raises ImmediateHttpResponse, a 429, where there were too many wrong passwords."""
        try:
            super().pre_authenticate(request, **credentials)
        except ValidationError:
            raise ImmediateHttpResponse(ratelimit.respond_429(request)) from None

    def _get_login_attempts_cache_key(self, request: HttpRequest, **credentials: Any) -> str:
        """Wrong passwords count for the person and the address they come from: nobody else is kept out."""
        person = super()._get_login_attempts_cache_key(request, **credentials)
        return f"{person}:{network_of(self.get_client_ip(request))}"

"""allauth's configuration hooks: sign-up is closed, and every sign-in is recorded in the audit.

allauth's views call these hooks; sign_ins.py decides what is recorded.
"""

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.core import ratelimit
from allauth.core.exceptions import ImmediateHttpResponse
from django.core.exceptions import ValidationError
from django.http import HttpRequest

from webxen.accounts import sign_ins
from webxen.accounts.models import User
from webxen.core import clock
from webxen.core.request_queue import network_of


class ClosedSignup(DefaultAccountAdapter):  # type: ignore[misc]
    """Allauth adapter without open registration: staff creates the accounts."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def login(self, request: HttpRequest, user: User) -> None:
        super().login(request, user)
        sign_ins.note_sign_in(user=user, now=clock.now())

    def logout(self, request: HttpRequest) -> None:
        if isinstance(request.user, User):
            sign_ins.note_sign_out(user=request.user, now=clock.now())
        super().logout(request)

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """Raises ImmediateHttpResponse with a 429 after too many wrong passwords."""
        try:
            super().pre_authenticate(request, **credentials)
        except ValidationError:
            raise ImmediateHttpResponse(ratelimit.respond_429(request)) from None

    def _get_login_attempts_cache_key(self, request: HttpRequest, **credentials: Any) -> str:
        """Count wrong passwords per account and client network, so that others cannot lock the owner out."""
        person = super()._get_login_attempts_cache_key(request, **credentials)
        return f"{person}:{network_of(self.get_client_ip(request))}"

    def authentication_failed(self, request: HttpRequest, **credentials: Any) -> None:
        super().authentication_failed(request, **credentials)
        sign_ins.note_failure(username=str(credentials.get("username", "")), now=clock.now())

    def set_password(self, user: User, password: str) -> None:
        super().set_password(user, password)
        sign_ins.note_new_password(user=user, now=clock.now())

    def send_notification_mail(self, template_prefix: str, user: User, *args: Any, **kwargs: Any) -> None:
        """Called by allauth for every change of a second factor, even if no mail is sent."""
        sign_ins.note_second_factor(user=user, event=template_prefix.rpartition("/")[2], now=clock.now())
        super().send_notification_mail(template_prefix, user, *args, **kwargs)

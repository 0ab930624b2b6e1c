"""How allauth behaves here: staff makes accounts, nobody signs up by himself."""

from allauth.account.adapter import DefaultAccountAdapter
from django.http import HttpRequest


class ClosedSignup(DefaultAccountAdapter):  # type: ignore[misc]
    """No open registration: an account on a portal to root machines is given, not taken."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

"""Sessions of browsers, for sockets that stay open: is the person still signed in?"""

from importlib import import_module

from django.conf import settings
from django.contrib import auth
from django.http import HttpRequest

from webxen.accounts.models import User


def person_of(*, session_key: str) -> User | None:
    """Who is signed in with this session; None once it has ended, expired, or the password is another one.

    The person is read anew, and is None as well once he or she may no longer sign in.
    """
    request = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    user = auth.get_user(request)
    return user if isinstance(user, User) and user.is_active else None

"""Browser sessions of WebSockets, to check that the user is still signed in."""

from importlib import import_module

from django.conf import settings
from django.contrib import auth
from django.http import HttpRequest

from webxen.accounts.models import User


def person_of(*, session_key: str) -> User | None:
    """Return the active user signed in with this session, read anew from the database.

    None if the session ended or expired, the password was changed, or the user is no longer active.
    """
    request = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    user = auth.get_user(request)
    return user if isinstance(user, User) and user.is_active else None

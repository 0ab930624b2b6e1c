"""Create the users of the pollers' benchmark, in a process with the portal's settings."""

import json
import sys

import django

django.setup()

from django.conf import settings  # noqa: E402
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY  # noqa: E402
from django.contrib.sessions.backends.db import SessionStore  # noqa: E402

from webxen.accounts import operations as accounts  # noqa: E402
from webxen.accounts.models import User  # noqa: E402
from webxen.core import clock  # noqa: E402
from webxen.quotas import operations as quotas  # noqa: E402
from webxen.quotas.shortage import Figures  # noqa: E402


def prepare(people: int, projects: int) -> None:
    """Create users, distributed over projects; print each user's token and session, by project."""
    now = clock.now()
    told = []
    for number in range(projects):
        members = [User.objects.create_user(username=f"looks{number}-{n}") for n in range(people // projects)]
        name = f"p{number}"
        project = accounts.create_project(
            slug=name, name=name, owner=members[0], members=members[1:], now=now
        )
        limits = Figures(machines=10, vcpus=100, memory_mib=10_000, disk_gib=100)
        quotas.set_limits(project=project, limits=limits, staff=None, now=now)
        told.append([{"token": _token(user, now), "session": _session(user)} for user in members])
    print(json.dumps(told))


def _token(user: User, now: object) -> str:
    return accounts.create_token(user=user, name="looks", scopes=(), expires_at=None, now=now)[1]  # type: ignore[arg-type]


def _session(user: User) -> str:
    """Create a session as after signing in, without hashing a thousand passwords."""
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.create()
    return str(session.session_key)


if __name__ == "__main__":
    prepare(int(sys.argv[1]), int(sys.argv[2]))

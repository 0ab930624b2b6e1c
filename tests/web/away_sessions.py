"""A session engine whose database is away when it is asked first, and has no session afterwards."""

from typing import Any

from django.contrib.sessions.backends.db import SessionStore as Real
from django.db import OperationalError

asked = 0


class SessionStore(Real):
    def load(self) -> dict[str, Any]:
        global asked  # noqa: PLW0603 - the tests' own count
        asked += 1
        if asked == 1:
            raise OperationalError("the server closed the connection")
        return {}

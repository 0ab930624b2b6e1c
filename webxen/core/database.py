"""The database that does not answer: told apart from a mistake of ours, and refused in words.

Lives here: that judgement alone. Doors turn it into an answer; nobody below a door catches it.
"""

from typing import ClassVar

from django.db import InterfaceError, OperationalError

from webxen.core.errors import UserError

#: what a program is told to wait before it asks again
RETRY_AFTER_SECONDS = 5


class DatabaseAwayError(UserError):
    """Locked, full, restarting or not there; nothing we did wrong, and nothing that stays."""

    code: ClassVar[str] = "DATABASE_AWAY"
    status: ClassVar[int] = 503

    def __init__(self) -> None:
        super().__init__(
            "The database does not answer at the moment. Look whether it was done after all, then try again."
        )


def is_away(error: BaseException | None) -> bool:
    """Whether waiting may help: no connection, a lock held too long, a deadlock, a disk that is full."""
    if not isinstance(error, InterfaceError | OperationalError):
        return False
    # SQLite calls a missing table operational as well: that is a mistake of ours
    return getattr(error.__cause__, "sqlite_errorname", "") != "SQLITE_ERROR"

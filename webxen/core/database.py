"""Recognize a database that does not answer, as opposed to a bug, and report it as an error users can read.

Entry points turn the exception into an answer; domain functions do not catch it.
"""

from typing import ClassVar

from django.db import InterfaceError, OperationalError

from webxen.core.errors import UserError

#: value of Retry-After in the answer
RETRY_AFTER_SECONDS = 5


class DatabaseAwayError(UserError):
    """The database is locked, full, restarting or unreachable: a temporary state that is no bug."""

    code: ClassVar[str] = "DATABASE_AWAY"
    status: ClassVar[int] = 503

    def __init__(self) -> None:
        super().__init__(
            "The database does not answer at the moment. Look whether it was done after all, then try again."
        )


def is_away(error: BaseException | None) -> bool:
    """Whether the error may go away by waiting: no connection, a lock timeout, a deadlock or a full disk."""
    if not isinstance(error, InterfaceError | OperationalError):
        return False
    # SQLite reports a missing table as OperationalError too; that is a bug
    return getattr(error.__cause__, "sqlite_errorname", "") != "SQLITE_ERROR"

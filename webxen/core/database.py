"""Recognize a database that does not answer, as opposed to a bug, and report it as an error users can read.

Entry points turn the exception into an answer; domain functions do not catch it.
"""

import contextlib
from collections.abc import Iterator
from typing import Any, ClassVar

from django.db import InterfaceError, OperationalError, connection, transaction

from webxen.core.errors import UserError
from webxen.core.messages import Message

#: value of Retry-After in the answer
RETRY_AFTER_SECONDS = 5


class DatabaseAwayError(UserError):
    """The database is locked, full, restarting or unreachable: a temporary state that is no bug."""

    code: ClassVar[str] = "DATABASE_AWAY"
    status: ClassVar[int] = 503

    def __init__(self) -> None:
        super().__init__(Message("DATABASE_AWAY"))


def is_away(error: BaseException | None) -> bool:
    """Whether the error may go away by waiting: no connection, a lock timeout, a deadlock or a full disk."""
    if not isinstance(error, InterfaceError | OperationalError):
        return False
    # SQLite reports a missing table as OperationalError too; that is a bug
    return getattr(error.__cause__, "sqlite_errorname", "") != "SQLITE_ERROR"


@contextlib.contextmanager
def one_instant(*, writes: bool) -> Iterator[None]:
    """A transaction with a consistent snapshot: the default on SQLite, an isolation level on PostgreSQL.

    Without `writes` it does not block others: the settings make SQLite lock the database at the start of a
    transaction, which is switched off here.
    """
    is_outermost = not connection.in_atomic_block
    isolation = "REPEATABLE READ" if writes else "REPEATABLE READ, READ ONLY"
    with contextlib.nullcontext() if writes else _without_lock(), transaction.atomic():
        if is_outermost and connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute(f"SET TRANSACTION ISOLATION LEVEL {isolation}")
        yield


@contextlib.contextmanager
def _without_lock() -> Iterator[None]:
    if connection.vendor != "sqlite":
        yield
        return
    database: Any = connection
    before, database.transaction_mode = database.transaction_mode, None
    try:
        yield
    finally:
        database.transaction_mode = before

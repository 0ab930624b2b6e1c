"""The clock's rounds: one job, move or host that raises an error does not keep the others from their turn.

Lives here: that isolation, and what is kept of the errors. Each is logged with what it was about and kept as
a row until its turn succeeds, which `verify` shows to staff. What failed comes last in the next round, and
after many errors a round ends: it never gets longer because something fails for ever.
"""

import contextlib
import logging
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TypeVar

from django.db import connection, transaction
from django.db.models import F

from webxen.core import database
from webxen.jobs.models import RoundFailure

log = logging.getLogger(__name__)
T = TypeVar("T")

#: errors after which a step's round ends: some of them wait four seconds for a lock
MOST_FAILURES = 20
#: of one row alone: it is locked, or was changed by somebody else meanwhile (PostgreSQL's error codes)
OF_ONE_ROW = frozenset({"55P03", "40P01", "40001"})


def each(
    step: str, items: Iterable[T], act: Callable[[T], int], *, now: datetime, about: Callable[[T], str] = str
) -> int:
    """Give every item its turn; the sum of what `act` returned.

    Raises only what is no item's own: the database does not answer, so it would not for the next one either.
    """
    known = dict(RoundFailure.objects.filter(step=step).values_list("about", "times"))
    done, failed = 0, {}
    for item in sorted(items, key=lambda item: about(item)[:80] in known) if known else items:
        try:
            with _savepoint():
                done += act(item)
        except Exception as error:
            if _is_away(error):
                raise
            log.exception("%s: %s failed; the others go on", step, about(item))
            failed[about(item)[:80]] = type(error).__name__
            if len(failed) >= MOST_FAILURES:
                log.error("%s: this round ends after %d errors", step, len(failed))
                break
    _keep(step, known.keys(), failed, now)
    return done


def once(step: str, act: Callable[[], int], *, now: datetime) -> int:
    """Give a step that has no items its turn; 0 where it failed."""
    return each(step, ["all"], lambda _: act(), now=now)


def _savepoint() -> contextlib.AbstractContextManager[object]:
    """Inside a transaction an error would be everybody's: PostgreSQL takes no more queries after it."""
    return transaction.atomic() if connection.in_atomic_block else contextlib.nullcontext()


def _is_away(error: Exception) -> bool:
    return database.is_away(error) and getattr(error.__cause__, "sqlstate", "") not in OF_ONE_ROW


def _keep(step: str, known: Iterable[str], failed: dict[str, str], now: datetime) -> None:
    if gone := set(known) - set(failed):
        RoundFailure.objects.filter(step=step, about__in=gone).delete()
    for about, error in failed.items():
        is_old = RoundFailure.objects.filter(step=step, about=about).update(
            error=error, last_at=now, times=F("times") + 1
        )
        if not is_old:
            RoundFailure.objects.create(step=step, about=about, error=error, first_at=now, last_at=now)

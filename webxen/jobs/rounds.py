"""Rounds of periodic work in which an error of one item does not stop the others.

An error is logged and stored as a row until the item succeeds; `verify` shows these rows to staff. Failing
items come last in the next round, and after many errors a round ends, so that permanent failures do not
prolong it.
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

#: errors after which a step's round ends; some take four seconds waiting for a lock
MOST_FAILURES = 20
#: errors of a single row: locked, or changed concurrently (PostgreSQL's error codes)
OF_ONE_ROW = frozenset({"55P03", "40P01", "40001"})


def each(
    step: str, items: Iterable[T], act: Callable[[T], int], *, now: datetime, about: Callable[[T], str] = str
) -> int:
    """Call `act` for every item; return the sum of its results.

    Raises only if the database does not answer, because that would affect all other items too.
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
    """Run a step without items; return 0 if it failed."""
    return each(step, ["all"], lambda _: act(), now=now)


def _savepoint() -> contextlib.AbstractContextManager[object]:
    """A savepoint inside a transaction: after an error PostgreSQL refuses further queries without one."""
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

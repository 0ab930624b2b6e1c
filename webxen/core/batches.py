"""Deleting many rows a few at a time, so that no lock is held for long and the work can stop in between."""

from collections.abc import Callable
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

ROWS = 500


def delete(rows: QuerySet[Any], *, may_go_on: Callable[[], bool]) -> int:
    """Delete the rows, a transaction for each batch, while `may_go_on` says so; answers how many went."""
    count, went = 0, 1
    while went and may_go_on():
        keys = list(rows.order_by().values_list("pk", flat=True)[:ROWS])
        with transaction.atomic():
            # asked again: what was old a moment ago may have been taken up since
            _total, by_model = rows.filter(pk__in=keys).order_by().delete()
        went = by_model.get(rows.model._meta.label, 0)  # noqa: SLF001 - a public API of Django
        count += went
    return count

"""Delete many rows in batches, so that locks are short and the deletion can stop between batches."""

from collections.abc import Callable
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

ROWS = 500


def delete(rows: QuerySet[Any], *, may_go_on: Callable[[], bool]) -> int:
    """Delete the rows, one transaction per batch, while `may_go_on()` is true; return the number deleted."""
    count, went = 0, 1
    while went and may_go_on():
        keys = list(rows.order_by().values_list("pk", flat=True)[:ROWS])
        with transaction.atomic():
            # filtered again: a row may have changed since its key was read
            _total, by_model = rows.filter(pk__in=keys).order_by().delete()
        went = by_model.get(rows.model._meta.label, 0)  # noqa: SLF001 - a public API of Django
        count += went
    return count

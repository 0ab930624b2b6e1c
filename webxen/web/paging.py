"""Pagination of long lists whose cost does not depend on the number of rows."""

from typing import Any, ClassVar

from django.core.paginator import Page, Paginator
from django.utils.functional import cached_property

#: maximum number of rows that can be paged through; users need a filter for more
MOST_ROWS = 5000


class LongList(Paginator):  # type: ignore[type-arg]
    """A paginator of a queryset that counts only up to `most_rows`, and loads only the rows of the page."""

    most_rows: ClassVar[int] = MOST_ROWS

    @cached_property
    def _counted(self) -> int:
        rows: Any = self.object_list
        counted: int = rows.order_by().values("pk")[: self.most_rows + 1].count()
        return counted

    @cached_property
    def count(self) -> int:
        return min(self._counted, self.most_rows)

    @property
    def is_cut(self) -> bool:
        """Whether there are rows beyond the last page."""
        return self._counted > self.most_rows

    def page(self, number: int | str) -> "Page[Any]":
        valid = self.validate_number(number)
        rows: Any = self.object_list
        start = (valid - 1) * self.per_page
        ids = list(rows.values_list("pk", flat=True)[start : min(start + self.per_page, self.most_rows)])
        found = {row.pk: row for row in rows.filter(pk__in=ids).order_by()}
        return Page([found[one] for one in ids if one in found], valid, self)

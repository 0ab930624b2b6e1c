"""Pages of long lists: as quick at the end as at the beginning, however many rows there are."""

from typing import Any, ClassVar

from django.core.paginator import Page, Paginator
from django.utils.functional import cached_property

#: rows that can be leafed through: who looks for more than that looks with a filter
MOST_ROWS = 5000


class LongList(Paginator):  # type: ignore[type-arg]
    """Of a queryset: counts no further than is shown, and reads whole rows of the page alone."""

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
        """Are there rows beyond the last page?"""
        return self._counted > self.most_rows

    def page(self, number: int | str) -> "Page[Any]":
        valid = self.validate_number(number)
        rows: Any = self.object_list
        start = (valid - 1) * self.per_page
        ids = list(rows.values_list("pk", flat=True)[start : min(start + self.per_page, self.most_rows)])
        found = {row.pk: row for row in rows.filter(pk__in=ids).order_by()}
        return Page([found[one] for one in ids if one in found], valid, self)

"""Unknown API URLs: a problem document instead of a page."""

from typing import Any, NoReturn

from rest_framework.request import Request

from webxen.api.base import ApiView
from webxen.core.errors import NotFoundError
from webxen.core.messages import Message


class Nowhere(ApiView):
    schema = None  # type: ignore[assignment]  # excludes the view from the schema
    permission_classes = []

    def initial(self, request: Request, *args: Any, rest: str = "", **kwargs: Any) -> NoReturn:
        """Answer 404 for every method and user, before any other check."""
        if not rest.endswith("/"):
            raise NotFoundError(Message("NOTHING_HERE"))
        raise NotFoundError

"""Every address below the API that leads nowhere: a problem in JSON, not a page."""

from typing import Any, NoReturn

from rest_framework.request import Request

from webxen.api.base import ApiView
from webxen.core.errors import NotFoundError


class Nowhere(ApiView):
    schema = None  # type: ignore[assignment]  # how the framework is told that this is not an operation
    permission_classes = []

    def initial(self, request: Request, *args: Any, rest: str = "", **kwargs: Any) -> NoReturn:
        """There is nothing here for any method and anybody, so nothing else is looked at."""
        if not rest.endswith("/"):
            raise NotFoundError("There is nothing here. Addresses of the API end with a slash.")
        raise NotFoundError

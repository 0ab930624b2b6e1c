"""Middleware of the pages: answers 400 to a query or form with text that cannot be stored.

PostgreSQL refuses NUL in every value, even in searches; SQLite does not. The API reports the field itself.
"""

import re
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, QueryDict
from django.utils.translation import gettext as _

from webxen.web.error_pages import refusal

UNKEPT = re.compile(r"[\x00\ud800-\udfff]")


def refuse_odd_text(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    def answer(request: HttpRequest) -> HttpResponse:
        if not request.path.startswith("/api/") and (_is_odd(request.GET) or _is_odd(request.POST)):
            sentence = _(
                "The address or the form contains a character that is not text (NUL). Enter it again."
            )
            return refusal(request, status=400, sentence=sentence)
        return get_response(request)

    return answer


def _is_odd(values: QueryDict) -> bool:
    return any(UNKEPT.search(text) for name, texts in values.lists() for text in (name, *texts))

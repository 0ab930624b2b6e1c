"""Outermost Django middleware: sets the request id in the context and in the answer.

In the web process request_ids has already chosen the id; under another server, in a test or in a command it
is chosen here. A successful request that writes is logged; Django logs refusals.
"""

import logging
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from webxen.core import request_context
from webxen.core.edge import READS

log = logging.getLogger(__name__)


def note_request(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    def answer(request: HttpRequest) -> HttpResponse:
        sent = request.headers.get(request_context.HEADER)
        request_id = request_context.current().request_id or request_context.choose_id(
            [] if sent is None else [sent]
        )
        with request_context.within(request_id=request_id, address=request.META.get("REMOTE_ADDR", "")):
            response = get_response(request)
            if request.method not in READS and response.status_code < 400:
                log.info("%s %s %d", request.method, request.path, response.status_code)
        response[request_context.HEADER] = request_id
        return response

    return answer

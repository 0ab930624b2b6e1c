"""Django's ASGI handler that runs each request completely on one thread of a fixed pool.

All views and middleware are synchronous. Django's own handler runs async-capable middleware on the event loop
and switches threads around each synchronous one, about twenty times per request. It also creates a thread,
and with it a database connection, for each request, so that a thousand readers exceed the connection limit of
the database. Here, requests that write and requests that read each have a pool of threads that keep their
connections. A long-polling read (`held_reads`) frees its thread and is handled a second time. WebSockets do
not pass through this module.
"""

import asyncio
import contextvars
import time
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.db import close_old_connections, connections, reset_queries
from django.http import HttpResponse
from django.urls import set_script_prefix

from webxen.core.edge import READS
from webxen.core.held_reads import HOLD, WAITED
from webxen.core.request_bodies import BODY
from webxen.core.request_queue import IS_KNOWN, LIMITED
from webxen.core.waiting_together import ARRIVED

#: a kept database connection is closed when it is older than this
KEEP_SECONDS = 60.0


class OneThread(ASGIHandler):
    """An ASGIHandler that runs the whole middleware chain on one thread. Expects the body in the scope."""

    def __init__(self, *, writers: int, readers: int) -> None:
        super().__init__()
        self._writers = ThreadPoolExecutor(writers, thread_name_prefix="writer")
        self._readers = ThreadPoolExecutor(readers, thread_name_prefix="reader")

    def load_middleware(self, is_async: bool = False) -> None:  # noqa: FBT001, FBT002 - Django's own
        super().load_middleware(is_async=False)

    async def get_response_async(self, request: Any) -> Any:
        return await sync_to_async(self.get_response, thread_sensitive=True)(request)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        arrived = time.monotonic()
        is_read = scope["method"] in READS
        pool = self._readers if is_read else self._writers
        job = pool.submit(contextvars.copy_context().run, self._answer, scope, arrived)
        answer = asyncio.wrap_future(job)
        # A write is finished even if the client has disconnected; a read that has not started is cancelled.
        if is_read and await _has_left(answer, receive) and job.cancel():
            return
        response = await answer
        if HOLD not in scope:
            await self.send_response(response, send)

    def _answer(self, scope: Any, arrived: float) -> Any:
        """Return the complete, closed response; no view streams its answer."""
        set_script_prefix(get_script_prefix(scope))
        # What Django does at the start of a request; response.close() does the counterpart at its end.
        reset_queries()
        close_old_connections()
        request, refusal = self.create_request(scope, BytesIO(scope[BODY]))
        if request is not None:
            request.META.update({ARRIVED: arrived, WAITED: scope.get(WAITED)})
        response: Any = refusal if request is None else self.get_response(request)
        response._handler_class = self.__class__  # noqa: SLF001 - passed on as the sender of request_finished
        scope[IS_KNOWN] = _is_known(request)
        scope[LIMITED] = getattr(response, LIMITED, 0)
        if hold := getattr(response, HOLD, None):
            scope[HOLD] = hold
        whole = _read_file(response) if response.streaming else response
        for connection in connections.all(initialized_only=True):
            _keep(connection)
        response.close()
        return whole


def _read_file(response: Any) -> HttpResponse:
    """Return the file response with its content in memory, so that a slow client blocks no thread or file."""
    content = b"".join(response.streaming_content)
    return HttpResponse(content, status=response.status_code, headers=dict(response.items()))


def _is_known(request: Any) -> bool:
    """Whether the request's user is authenticated; does not load a user that the view did not need."""
    user = getattr(request, "user", None)
    # Django's lazy user stores the loaded user, or a bare object, in _wrapped
    return getattr(getattr(user, "_wrapped", user), "is_authenticated", False) is True


async def _has_left(answer: asyncio.Future[Any], receive: Any) -> bool:
    """Wait for the answer or the client's disconnect; return True if the client disconnected first."""
    # after the body only http.disconnect can arrive
    gone = asyncio.ensure_future(receive())
    try:
        await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        gone.cancel()
    return not answer.done()


def _keep(connection: Any) -> None:
    """Keep a new connection open; Django still closes one that had an error at the end of the request."""
    # CONN_MAX_AGE would also apply to long-polling threads, which end and would leak their connections.
    if connection.connection is not None and getattr(connection, "kept", None) is not connection.connection:
        connection.kept = connection.connection
        connection.close_at = (connection.close_at or 0.0) + KEEP_SECONDS

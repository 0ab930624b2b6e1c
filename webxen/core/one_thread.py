"""Django's door for ASGI, with the whole of a request on one thread.

Every view and middleware here is synchronous. Left to itself, Django runs the middleware that could be
asynchronous on the event loop and hops to a thread and back around each of them: some twenty hops a request.
It also makes a thread, and with it a database connection, for each request: a thousand people who look are
more connections than a database has. Requests get a few threads that stay, each with its connection; those
that write and those that read have their own. A read that is to be held open (`held_reads`) gives its thread
back and comes a second time. Sockets do not come through here.
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

#: a kept connection is closed when it is older than this
KEEP_SECONDS = 60.0


class OneThread(ASGIHandler):
    """An ASGIHandler that enters its chain of middleware once, and stays in. The body is in the scope."""

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
        # What was asked for is written even if nobody waits for the answer any more; a mere look is given up.
        if is_read and await _has_left(answer, receive) and job.cancel():
            return
        response = await answer
        if HOLD not in scope:
            await self.send_response(response, send)

    def _answer(self, scope: Any, arrived: float) -> Any:
        """The response, whole and closed: nothing that comes here streams its answer."""
        set_script_prefix(get_script_prefix(scope))
        # What Django does at the start of a request, in so many words; at its end response.close() does it.
        reset_queries()
        close_old_connections()
        request, refusal = self.create_request(scope, BytesIO(scope[BODY]))
        if request is not None:
            request.META.update({ARRIVED: arrived, WAITED: scope.get(WAITED)})
        response: Any = refusal if request is None else self.get_response(request)
        response._handler_class = self.__class__  # noqa: SLF001 - who sends request_finished
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
    """A file's response with its content: a client that reads slowly holds neither a thread nor a file."""
    content = b"".join(response.streaming_content)
    return HttpResponse(content, status=response.status_code, headers=dict(response.items()))


def _is_known(request: Any) -> bool:
    """Whether a person was found for the request; nobody is looked for who was not needed."""
    user = getattr(request, "user", None)
    # Django's lazy user keeps what it found, or a bare object, in _wrapped
    return getattr(getattr(user, "_wrapped", user), "is_authenticated", False) is True


async def _has_left(answer: asyncio.Future[Any], receive: Any) -> bool:
    """Wait for the answer, or until the one who asked has gone."""
    # after the body nothing comes but http.disconnect
    gone = asyncio.ensure_future(receive())
    try:
        await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        gone.cancel()
    return not answer.done()


def _keep(connection: Any) -> None:
    """Let a new connection live on; one that met an error is closed with the request all the same."""
    # CONN_MAX_AGE would be for held reads too, whose threads end and would leave their connections behind.
    if connection.connection is not None and getattr(connection, "kept", None) is not connection.connection:
        connection.kept = connection.connection
        connection.close_at = (connection.close_at or 0.0) + KEEP_SECONDS

"""Django's door for ASGI, with the whole of a request on one thread.

Every view and middleware here is synchronous. Left to itself, Django runs the middleware that could be
asynchronous on the event loop and hops to a thread and back around each of them: some twenty hops a request.
It also makes a thread, and with it a database connection, for each request. Requests that write come in
crowds; they get a few threads that stay, each with its connection. Reads may be held open, so each has a
thread of its own. Sockets do not come through here.
"""

import asyncio
import contextvars
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from asgiref.sync import sync_to_async
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.db import close_old_connections, connections, reset_queries
from django.urls import set_script_prefix

from webxen.core.turnstile import READS

#: a writer's connection is closed when it is older than this
KEEP_SECONDS = 60.0


class OneThread(ASGIHandler):
    """An ASGIHandler that enters its chain of middleware once, and stays in."""

    def __init__(self, *, writers: int) -> None:
        super().__init__()
        self._writers = ThreadPoolExecutor(writers, thread_name_prefix="writer")

    def load_middleware(self, is_async: bool = False) -> None:  # noqa: FBT001, FBT002 - Django's own
        super().load_middleware(is_async=False)

    async def get_response_async(self, request: Any) -> Any:
        return await sync_to_async(self.get_response, thread_sensitive=True)(request)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["method"] in READS:
            await super().__call__(scope, receive, send)
            return
        try:
            body = await self.read_body(receive)
        except RequestAborted:
            return
        # Carried to its end even if nobody waits for the answer any more: what was asked for is written.
        answer = contextvars.copy_context().run
        loop = asyncio.get_running_loop()
        response = await loop.run_in_executor(self._writers, answer, self._answer, scope, body)
        await self.send_response(response, send)

    def _answer(self, scope: Any, body: Any) -> Any:
        """The response, whole and closed: nothing that writes streams its answer."""
        set_script_prefix(get_script_prefix(scope))
        # What Django does at the start of a request, in so many words; at its end response.close() does it.
        reset_queries()
        close_old_connections()
        request, refusal = self.create_request(scope, body)
        response: Any = refusal if request is None else self.get_response(request)
        response._handler_class = self.__class__  # noqa: SLF001 - who sends request_finished
        for connection in connections.all(initialized_only=True):
            _keep(connection)
        response.close()
        body.close()
        return response


def _keep(connection: Any) -> None:
    """Let a new connection live on; one that met an error is closed with the request all the same."""
    # CONN_MAX_AGE would be for reads too, whose threads end and would leave their connections behind.
    if connection.connection is not None and getattr(connection, "kept", None) is not connection.connection:
        connection.kept = connection.connection
        connection.close_at = (connection.close_at or 0.0) + KEEP_SECONDS

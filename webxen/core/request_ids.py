"""Outermost ASGI layer of the web process: gives every request an id and adds it to every answer.

It is outside of Django because static files, refusals at the edge and WebSockets need an id too.
request_context describes the uses of the id.
"""

from typing import Any

from webxen.core import request_context
from webxen.core.edge import Asgi, Receive, Scope, Send

HEADER = request_context.HEADER.lower().encode()
#: ASGI messages that begin an answer
BEGINNINGS = ("http.response.start", "websocket.accept", "websocket.http.response.start")


def with_request_id(inside: Asgi) -> Asgi:
    """Wrap `inside` so that the request context is set and the answer has the request id header."""

    async def enter(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await inside(scope, receive, send)
            return
        sent = [value.decode("latin-1") for name, value in scope["headers"] if name == HEADER]
        request_id = request_context.choose_id(sent)
        # The server runs each request in a task with its own context: nothing has to be reset, and the
        # server's own log lines about the request carry the id too.
        request_context.begin(request_id=request_id, address=(scope.get("client") or ("",))[0] or "")
        answer = _Answer(scope, send, request_id)
        try:
            await inside(scope, receive, answer.send)
        except Exception:
            await answer.fail()
            raise  # the server logs it with its traceback

    return enter


class _Answer:
    """The answer to one client, to which the request id header is added."""

    def __init__(self, scope: Scope, send: Send, request_id: str) -> None:
        self._scope, self._send = scope, send
        self._header = (HEADER, request_id.encode())
        self._has_begun = False

    async def send(self, message: Any) -> None:
        """Forward a message; add the header to the one that begins the answer."""
        if message["type"] == "websocket.close" and not self._has_begun and self._may_answer_in_words:
            await self._refuse_socket()
            return
        if message["type"] in BEGINNINGS:
            self._has_begun = True
            others = [pair for pair in message.get("headers", ()) if pair[0].lower() != HEADER]
            message = {**message, "headers": [*others, self._header]}
        await self._send(message)

    async def fail(self) -> None:
        """Send a 500 with the header, which the server's own 500 would not have."""
        if self._scope["type"] != "http" or self._has_begun:
            return
        words = [(b"content-type", b"text/plain; charset=utf-8")]
        await self.send({"type": "http.response.start", "status": 500, "headers": words})
        await self._send({"type": "http.response.body", "body": b"Internal Server Error"})

    @property
    def _may_answer_in_words(self) -> bool:
        return "websocket.http.response" in (self._scope.get("extensions") or {})

    async def _refuse_socket(self) -> None:
        """Send the 403 for a socket closed before acceptance; the server's own would not have the header."""
        await self.send({"type": "websocket.http.response.start", "status": 403, "headers": []})
        await self._send({"type": "websocket.http.response.body", "body": b""})

"""Refusals sent before a request reaches Django, and types shared by the layers of `webxen.asgi`.

This module sends the refusal; `webxen.asgi` passes in the function that renders it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from webxen.core.errors import UserError

Scope = Any
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[Any]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[Any]]
#: returns a refusal as (content type, body) for the client of this request
Render = Callable[[Scope, UserError], tuple[str, bytes]]

READS = frozenset({"GET", "HEAD", "OPTIONS"})
#: How much of the body is still read after a refusal, so that the client can read the answer: closing a
#: connection with unread bytes resets it. Nothing is read of a body whose declared length is larger.
LINGER_SECONDS, LINGER_BYTES = 1.0, 512 << 10


def header_of(scope: Scope, name: bytes) -> bytes | None:
    """Return the value of the first header of this name (lower case), or None."""
    return next((value for key, value in scope["headers"] if key == name), None)


async def refuse(
    scope: Scope, receive: Receive, send: Send, error: UserError, *, render: Render, is_read: bool
) -> None:
    """Send the refusal and close the connection. `is_read`: the body has been received completely."""
    content_type, body = render(scope, error)
    headers = [
        (b"content-type", content_type.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"connection", b"close"),
    ]
    if error.retry_after_seconds is not None:
        headers.append((b"retry-after", str(error.retry_after_seconds).encode()))
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": True})
    if not is_read and _may_end_soon(scope):
        await _linger(receive)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _may_end_soon(scope: Scope) -> bool:
    declared = header_of(scope, b"content-length") or b"0"
    is_small = len(declared) < 8 and declared.isdigit() and int(declared) <= LINGER_BYTES
    return is_small and header_of(scope, b"expect") is None


async def _linger(receive: Receive) -> None:
    left = LINGER_BYTES
    try:
        async with asyncio.timeout(LINGER_SECONDS):
            while left > 0:
                message = await receive()
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return
                left -= len(message.get("body", b""))
    except TimeoutError:
        return

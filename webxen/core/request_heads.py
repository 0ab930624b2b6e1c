"""Refuse request heads that Django would parse much more slowly than they are sent.

Python unquotes a cookie in time quadratic in the number of backslashes: 32 KiB of them take two seconds, on
the event loop when a WebSocket is opened. The portal's own cookies contain a few dozen.
"""

from typing import ClassVar

from webxen.core.edge import Asgi, Receive, Render, Scope, Send, refuse
from webxen.core.errors import UserError
from webxen.core.messages import Message

MOST_COOKIE_BYTES, MOST_BACKSLASHES = 16 << 10, 1000


class CookiesTooLargeError(UserError):
    """The cookies are larger than any set by the portal."""

    code: ClassVar[str] = "COOKIES_TOO_LARGE"
    status: ClassVar[int] = 431

    def __init__(self) -> None:
        super().__init__(Message("COOKIES_TOO_LARGE"))


def with_heads_checked(inside: Asgi, *, render: Render) -> Asgi:
    """Wrap `inside` so that requests and sockets with expensive cookies are refused."""

    async def enter(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or _has_small_cookies(scope):
            await inside(scope, receive, send)
        elif scope["type"] == "http":
            await refuse(scope, receive, send, CookiesTooLargeError(), render=render, is_read=False)
        else:
            await receive()  # websocket.connect
            await send({"type": "websocket.close"})  # before it is accepted: a 403

    return enter


def _has_small_cookies(scope: Scope) -> bool:
    cookies = [value for name, value in scope["headers"] if name == b"cookie"]
    size = sum(map(len, cookies))
    return size <= MOST_COOKIE_BYTES and sum(one.count(b"\\") for one in cookies) <= MOST_BACKSLASHES

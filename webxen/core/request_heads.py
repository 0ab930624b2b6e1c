"""What Django would read of a request's head in more time than it takes to send: refused before.

Python unquotes a cookie in time that grows with the square of its backslashes: 32 KiB of them cost two
seconds, on the event loop where a socket is opened. Ours have a few dozen.
"""

from typing import ClassVar

from webxen.core.edge import Asgi, Receive, Render, Scope, Send, refuse
from webxen.core.errors import UserError

MOST_COOKIE_BYTES, MOST_BACKSLASHES = 16 << 10, 1000


class CookiesTooLargeError(UserError):
    """The cookies are more than a browser has of ours."""

    code: ClassVar[str] = "COOKIES_TOO_LARGE"
    status: ClassVar[int] = 431

    def __init__(self) -> None:
        super().__init__("The cookies are too large. Delete this site's cookies and sign in again.")


def with_heads_checked(inside: Asgi, *, render: Render) -> Asgi:
    """`inside`, for requests and sockets whose cookies are read quickly."""

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

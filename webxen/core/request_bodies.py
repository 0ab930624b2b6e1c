"""Read request bodies completely before Django handles the request.

A body is limited in size and time while it is read into memory. A request enters the request queue
(`request_queue`) only once its body is complete, so that a slow or endless body occupies nothing but its own
connection. The total size of all bodies is limited too: beyond the limit the body that has been arriving for
the longest time is refused.
"""

import asyncio
from typing import ClassVar

from webxen.core.edge import Asgi, Receive, Render, Scope, Send, header_of, refuse
from webxen.core.errors import UserError
from webxen.core.messages import Message
from webxen.core.request_queue import credential_of

#: key of the body in the scope; `receive` then returns only the client's disconnect
BODY = "webxen.body"
#: total bytes of bodies in memory, including those of requests that wait or are being handled
MOST_TOGETHER_BYTES = 64 << 20
RETRY_AFTER_SECONDS = 5


class BodyTooLargeError(UserError):
    """The body exceeds the size limit."""

    code: ClassVar[str] = "TOO_LARGE"
    status: ClassVar[int] = 413

    def __init__(self, most_bytes: int) -> None:
        super().__init__(Message("BODY_TOO_LARGE", bytes=most_bytes))


class BodyTooSlowError(UserError):
    """The body did not arrive in time."""

    code: ClassVar[str] = "BODY_TOO_SLOW"
    status: ClassVar[int] = 408

    def __init__(self) -> None:
        super().__init__(Message("BODY_TOO_SLOW"))


class BusyError(UserError):
    """The bodies of all requests together exceed the memory limit."""

    code: ClassVar[str] = "BUSY"
    status: ClassVar[int] = 503
    retry_after_seconds: int | None = RETRY_AFTER_SECONDS

    def __init__(self) -> None:
        super().__init__(Message("BUSY"))


class ClientGone(Exception):
    """The client disconnected before the body was complete."""


class Bodies:
    """All bodies in this process that are being read or kept. Used by one event loop."""

    def __init__(
        self,
        *,
        most_bytes: int,
        most_bytes_of_strangers: int,
        seconds: float,
        session_cookie: str,
        most_together_bytes: int = MOST_TOGETHER_BYTES,
    ) -> None:
        self._most_bytes, self._seconds = most_bytes, seconds
        #: limit for requests without token or session, which are only sign-in forms and host enrolments
        self._most_bytes_of_strangers = most_bytes_of_strangers
        self._session_cookie = session_cookie
        self._most_together_bytes = most_together_bytes
        #: bytes in memory now
        self.kept_bytes = 0
        #: bodies being received, the oldest first
        self._on_their_way: dict[asyncio.Timeout, None] = {}

    async def read(self, scope: Scope, receive: Receive) -> bytes:
        """Return the whole body; release it with `forget`.

        Raises BodyTooLargeError, BodyTooSlowError, BusyError or ClientGone.
        """
        declared = header_of(scope, b"content-length") or b""
        is_stranger = credential_of(scope, self._session_cookie) is None
        most_bytes = self._most_bytes_of_strangers if is_stranger else self._most_bytes
        if declared.isdigit() and (len(declared) > 18 or int(declared) > most_bytes):
            raise BodyTooLargeError(most_bytes)
        parts: list[bytes] = []
        try:
            async with asyncio.timeout(self._seconds) as limit:
                self._on_their_way[limit] = None
                try:
                    await self._collect(receive, parts, limit, most_bytes)
                finally:
                    del self._on_their_way[limit]
        except TimeoutError:
            self.forget(parts)
            raise BodyTooSlowError from None
        except BaseException:
            self.forget(parts)
            raise
        return b"".join(parts)

    def forget(self, parts: list[bytes]) -> None:
        self.kept_bytes -= sum(map(len, parts))

    async def _collect(
        self, receive: Receive, parts: list[bytes], limit: asyncio.Timeout, most_bytes: int
    ) -> None:
        length, more = 0, True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                raise ClientGone
            part = message.get("body", b"")
            more = message.get("more_body", False)
            length += len(part)
            if length > most_bytes:
                raise BodyTooLargeError(most_bytes)
            if part:
                parts.append(part)
                self.kept_bytes += len(part)
                self._make_room(limit)

    def _make_room(self, mine: asyncio.Timeout) -> None:
        """Abort the oldest body being received if there are too many bytes; raise BusyError if it is this
        one.
        """
        if self.kept_bytes <= self._most_together_bytes:
            return
        now = asyncio.get_running_loop().time()
        oldest = next((one for one in self._on_their_way if (one.when() or 0) > now), mine)
        if oldest is mine:
            raise BusyError
        oldest.reschedule(now)


def with_bodies(inside: Asgi, *, bodies: Bodies, render: Render) -> Asgi:
    """Wrap `inside` so that the complete body is in the scope."""

    async def enter(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await bodies.read(scope, receive)
        except UserError as error:
            await refuse(scope, receive, send, error, render=render, is_read=False)
            return
        except ClientGone:
            return
        scope[BODY] = body
        try:
            await inside(scope, receive, send)
        finally:
            del scope[BODY]
            bodies.forget([body])

    return enter

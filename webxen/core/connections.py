"""The limits of a client's connection that uvicorn itself has not.

In force with `uvicorn --http webxen.core.connections:GuardedHttp`.

A connection must bring the head of its request in time and in few bytes, may not ask far ahead, and must read
what it is told. There are so many connections at most: where one more comes, the address that holds the most
loses its oldest. What a request may then do is not decided here.
"""

import asyncio
import resource
from typing import Any, ClassVar

from django.conf import settings
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from webxen.core import request_context
from webxen.core.request_queue import network_of

#: from the first moment, or the first byte after another request, until the head is whole
HEAD_SECONDS = 10.0
#: of the address and all headers; Django itself takes no field of 64 KiB
MOST_HEAD_BYTES, MOST_HEADERS = 32 << 10, 100
#: requests sent ahead on one connection before the first is answered
MOST_AHEAD = 8
#: a client that takes nothing of its answer for this long is let go
STALL_SECONDS = 30.0
#: descriptors kept for the database, the broker and files
SPARE_DESCRIPTORS = 100

REFUSALS = {
    431: b"HTTP/1.1 431 Request Header Fields Too Large\r\n",
    503: b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\n",
}


class TooMuchError(Exception):
    """The head of a request, or what was sent ahead, is more than is read here."""


def raise_descriptor_limit() -> None:
    """Let this process have as many descriptors as it may: the usual soft limit of 1024 is one for shells."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def most_connections(*, descriptors: int) -> int:
    """How many there may be: the setting, or what the limit of descriptors leaves."""
    return max(1, min(int(settings.WEBXEN_CONNECTIONS), descriptors - SPARE_DESCRIPTORS))


def _id_line() -> bytes:
    """The header with a new id, for what cannot be read as a request that brings one."""
    return f"{request_context.HEADER.lower()}: {request_context.choose_id([])}\r\n".encode()


class GuardedHttp(HttpToolsProtocol):
    """One connection that speaks HTTP; a WebSocket leaves it with its handshake."""

    #: all of this process, by address, the oldest first
    open_ones: ClassVar[dict[str, dict["GuardedHttp", None]]] = {}

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._address = network_of(self.client[0]) if self.client else ""
        self._head_bytes = 0
        self._limit: asyncio.TimerHandle | None = None
        self._unsent_bytes = 0
        if not self._make_room():
            self._turn_away(503)
        self.open_ones.setdefault(self._address, {})[self] = None
        self._begin_head()
        self._watch = self.loop.call_later(STALL_SECONDS, self._look_after_answer)

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self) -> None:
        self._leave()
        super().handle_websocket_upgrade()

    def data_received(self, data: bytes) -> None:
        if self._limit is None and self._is_idle():
            self._begin_head()
        super().data_received(data)
        if self._limit is not None:
            self._head_bytes += len(data)
            if self._head_bytes > MOST_HEAD_BYTES:
                self._turn_away(431)

    def send_400_response(self, msg: str) -> None:
        """Uvicorn's own, with an id as on every answer."""
        kind = b"content-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n" % len(msg)
        head = b"HTTP/1.1 400 Bad Request\r\n" + _id_line() + kind + b"connection: close\r\n\r\n"
        self.transport.write(head + msg.encode("ascii"))
        self.transport.close()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_bytes = 0

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        if len(self.headers) >= MOST_HEADERS:
            raise TooMuchError
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._end_head()
        if len(self.pipeline) >= MOST_AHEAD:
            raise TooMuchError
        super().on_headers_complete()

    def resume_writing(self) -> None:
        self._unsent_bytes = 0
        super().resume_writing()

    # --- the head of a request

    def _begin_head(self) -> None:
        self._head_bytes = 0
        self._limit = self.loop.call_later(HEAD_SECONDS, self._abort)

    def _end_head(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None

    def _count(self, length: int) -> None:
        self._head_bytes += length
        if self._head_bytes > MOST_HEAD_BYTES:
            raise TooMuchError  # httptools makes a 400 of it

    def _is_idle(self) -> bool:
        return getattr(self.cycle, "response_complete", True)

    # --- the end of a connection

    def _turn_away(self, status: int) -> None:
        if not self.transport.is_closing():
            ends = b"content-length: 0\r\nconnection: close\r\n\r\n"
            self.transport.write(REFUSALS[status] + _id_line() + ends)
            self.transport.close()

    def _abort(self) -> None:
        self.transport.abort()

    def _look_after_answer(self) -> None:
        """End it where the client has taken nothing of its answer since the last look."""
        unsent = self.transport.get_write_buffer_size()
        if unsent and unsent == self._unsent_bytes:
            self._abort()
            return
        self._unsent_bytes = unsent
        self._watch = self.loop.call_later(STALL_SECONDS, self._look_after_answer)

    def _leave(self) -> None:
        self._end_head()
        self._watch.cancel()
        mine = self.open_ones.get(self._address, {})
        mine.pop(self, None)
        if not mine:
            self.open_ones.pop(self._address, None)

    def _make_room(self) -> bool:
        """End one connection if there are as many as may be; False where this one must not come in."""
        soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if sum(map(len, self.open_ones.values())) < most_connections(descriptors=soft):
            return True
        address, crowd = max(self.open_ones.items(), key=lambda item: len(item[1]))
        # another address loses its oldest whatever it does; one's own only what is idle
        victim = next((one for one in crowd if one._is_idle()), None)  # noqa: SLF001 - of this class
        if victim is None and address != self._address:
            victim = next(iter(crowd))
        if victim is None:
            return False
        victim._leave()  # noqa: SLF001 - of this class
        victim._abort()  # noqa: SLF001 - of this class
        return True

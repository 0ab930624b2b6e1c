"""Limits on client connections that uvicorn does not have.

Enabled with `uvicorn --http webxen.core.connections:GuardedHttp`.

A connection must send the head of its request in time and within a size limit, may pipeline few requests, and
must read its answers. When the maximum number of connections is reached, a new one closes the oldest
connection of the address that has the most. Limits on requests are in request_bodies and request_queue.
"""

import asyncio
import resource
from typing import Any, ClassVar

from django.conf import settings
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from webxen.core import request_context
from webxen.core.request_queue import network_of

#: counted from the opening of the connection, or from the first byte after the previous request, until the
#: head is complete
HEAD_SECONDS = 10.0
#: of the URL and all headers; Django itself accepts no field of 64 KiB
MOST_HEAD_BYTES, MOST_HEADERS = 32 << 10, 100
#: requests pipelined on one connection before the first is answered
MOST_AHEAD = 8
#: a client that reads nothing of its answer for this long is disconnected
STALL_SECONDS = 30.0
#: file descriptors reserved for the database, the broker and files
SPARE_DESCRIPTORS = 100

REFUSALS = {
    431: b"HTTP/1.1 431 Request Header Fields Too Large\r\n",
    503: b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\n",
}


class TooMuchError(Exception):
    """The head of a request, or the number of pipelined requests, exceeds the limit."""


def raise_descriptor_limit() -> None:
    """Raise this process's soft limit of file descriptors to the hard limit; the usual soft limit is 1024."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def most_connections(*, descriptors: int) -> int:
    """Return the maximum number of connections: the setting, or less if the descriptor limit is lower."""
    return max(1, min(int(settings.WEBXEN_CONNECTIONS), descriptors - SPARE_DESCRIPTORS))


def _id_line() -> bytes:
    """The X-Request-Id header line with a new id, for answers to requests that could not be parsed."""
    return f"{request_context.HEADER.lower()}: {request_context.choose_id([])}\r\n".encode()


class GuardedHttp(HttpToolsProtocol):
    """One HTTP connection. A connection that upgrades to WebSocket is no longer limited here."""

    #: all connections of this process by address, the oldest first
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
        """Uvicorn's 400 answer with an X-Request-Id header added."""
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
            raise TooMuchError  # httptools turns this into a 400

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
        """Close the connection if the client has read nothing of its answer since the last check."""
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
        """Close one connection if the maximum is reached; return False if this new one must be refused."""
        soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if sum(map(len, self.open_ones.values())) < most_connections(descriptors=soft):
            return True
        address, crowd = max(self.open_ones.items(), key=lambda item: len(item[1]))
        # another address loses its oldest connection in any state; the same address loses only an idle one
        victim = next((one for one in crowd if one._is_idle()), None)  # noqa: SLF001 - of this class
        if victim is None and address != self._address:
            victim = next(iter(crowd))
        if victim is None:
            return False
        victim._leave()  # noqa: SLF001 - of this class
        victim._abort()  # noqa: SLF001 - of this class
        return True

"""The console WebSocket: checks ticket and origin, transfers bytes and control frames, rechecks permissions.

A plain ASGI application: a console must stop sending while its client does not read, which Channels'
consumers, with one task for both directions, cannot do. No console byte passes the channel layer.
"""

import asyncio
import contextlib
import dataclasses
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, cast

from channels.db import database_sync_to_async
from django.conf import settings
from django.db import InterfaceError, OperationalError
from redis.exceptions import RedisError

from webxen.console import operations, protocol, queries
from webxen.console.participants import RENEW_SECONDS, Participant, Typed
from webxen.console.reading import end_tasks
from webxen.console.relay import Hub, Tail, hub
from webxen.core import clock, origin
from webxen.inventory import floods

log = logging.getLogger(__name__)

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

#: bytes sent without acknowledgement; xterm.js drops data when too much is buffered
WINDOW_BYTES = 128 << 10
CHUNK_BYTES = 32 << 10
#: a client that acknowledges nothing for this long, with a full window, is disconnected
TIMEOUT_SECONDS = 60
RIGHTS_SECONDS = 20
#: text frames a client may send per second, on average and in a burst; one more per piece sent to it
FRAMES_A_SECOND, FRAMES_AT_ONCE = 100, 300
WAIT_SECONDS = 0.05
RETRY_SECONDS = 0.5
#: for this many seconds between two renewals, a detached console is looked for on other hosts
LOOKS_FOR_IT = 3


class Closing(Exception):
    """Ends the socket with this close code and reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


async def _note_flood(host: str) -> None:
    """Record the flood for the host's page; only logged if the database is away."""
    try:
        await database_sync_to_async(floods.note)(name=host, what="console", now=clock.now())
    except (InterfaceError, OperationalError) as error:
        log.warning("that %s writes too much could not be noted: %s", host, error)


async def console_socket(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one console socket from handshake to close."""
    await receive()  # websocket.connect
    participant = await _admit(scope)
    if participant is None:
        await send({"type": "websocket.close"})  # before accept: the server answers 403
        return
    offset = protocol.offset_in(scope.get("query_string", b"").decode("latin-1"))
    await send({"type": "websocket.accept", "subprotocol": protocol.SUBPROTOCOL})
    socket = ConsoleSocket(hub(_note_flood), participant, _session_of(scope), receive, send)
    try:
        await socket.run(offset or 0)
    except Closing as closing:
        await _close(send, closing.code, closing.reason)
    except (RedisError, OSError):
        await _close(send, protocol.TRY_LATER, "the portal's message broker is away")


async def _close(send: Send, code: int, reason: str) -> None:
    with contextlib.suppress(TimeoutError, RuntimeError, OSError):
        async with asyncio.timeout(2):
            await send({"type": "websocket.close", "code": code, "reason": reason})


async def _admit(scope: Scope) -> Participant | None:
    """Check origin, address and ticket; return None if any of them is wrong, without telling which."""
    headers = scope.get("headers", [])
    if fault := origin.find_fault(
        headers,
        is_secure=settings.HTTPS or scope.get("scheme") == "wss",
        allowed_hosts=settings.ALLOWED_HOSTS,
        trusted=settings.CSRF_TRUSTED_ORIGINS,
    ):
        log.warning("a console socket was refused: %s", fault)
        return None
    offset = protocol.offset_in(scope.get("query_string", b"").decode("latin-1"))
    ticket = protocol.ticket_in(scope.get("subprotocols", []))
    if ticket is None or offset is None:
        return None
    machine_id = scope["url_route"]["kwargs"]["machine_id"]
    join_console = database_sync_to_async(_join_console)
    return cast(
        "Participant | None", await join_console(ticket, machine_id, scope.get("user"), _session_of(scope))
    )


def _session_of(scope: Scope) -> Any:
    """The browser session that presents the ticket, if a user is signed in."""
    visitor = scope.get("user")
    return scope.get("session") if visitor is not None and visitor.is_authenticated else None


def _join_console(ticket: str, machine_id: uuid.UUID, visitor: Any, session: Any) -> Participant | None:
    redeemed = operations.redeem_ticket(secret=ticket, machine_id=machine_id, now=clock.now())
    if redeemed is None:
        return None
    user = redeemed.user
    if visitor is not None and visitor.is_authenticated and visitor.pk != user.pk:
        return None  # the ticket of another user
    participant = Participant(
        id=uuid.uuid4().hex,
        user_id=user.pk,
        username=user.get_username(),
        machine_id=str(machine_id),
        host="",
        token_id=redeemed.token_id,
        session_key=redeemed.session_key,
        came_from=queries.came_from(machine_id=machine_id),
    )
    host = _host_now(participant, session)
    return None if host is None else dataclasses.replace(participant, host=host)


def _host_now(participant: Participant, session: Any) -> str | None:
    """Return the machine's host if the user may still see it, otherwise None.

    Both sessions must still be valid: the one that requested the ticket, and the one that presented it.
    """
    keys = {participant.session_key, (session and session.session_key) or ""} - {""}
    return queries.host_now(
        user_id=participant.user_id,
        machine_id=uuid.UUID(participant.machine_id),
        token_id=participant.token_id,
        session_keys=keys,
        now=clock.now(),
    )


def _is_deleted(participant: Participant, session: Any) -> bool:
    if session is not None and session.session_key and not session.exists(session.session_key):
        return False  # signed out: no information is given
    return queries.is_deleted(user_id=participant.user_id, machine_id=uuid.UUID(participant.machine_id))


class ConsoleSocket:
    """An open socket with three tasks: one reads, one writes, one checks timeouts and permissions."""

    def __init__(
        self, hub: Hub, participant: Participant, session: Any, receive: Receive, send: Send
    ) -> None:
        self._hub, self._seat, self._session = hub, participant, session
        self._receive, self._send = receive, send
        self._wake = asyncio.Event()
        self._position = self._acknowledged = 0
        #: state and news number that the client was sent last
        self._said: tuple[tuple[str, str] | None, int] = (None, 0)
        self._moved_at = time.monotonic()
        self._frames, self._counted_at = float(FRAMES_AT_ONCE), time.monotonic()

    async def run(self, offset: int) -> None:
        """Serve the socket. Raises Closing when the server ends it."""
        if not await self._hub.participants.enter(self._seat):
            raise Closing(protocol.TOO_MANY, "too many consoles are open: close one and try again")
        participant = self._seat
        tail = await self._hub.follow(
            participant.host, participant.machine_id, self._wake.set, came_from=participant.came_from
        )
        tasks = [
            asyncio.create_task(work)
            for work in (self._listen(tail), self._speak(tail, offset), self._look_after(tail))
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await end_tasks(*tasks)
            self._hub.leave(tail, self._wake.set)
            with contextlib.suppress(RedisError, OSError):
                await self._hub.participants.leave(self._seat)

    # --- from the client

    async def _listen(self, tail: Tail) -> None:
        while True:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                return
            data, text = message.get("bytes"), message.get("text")
            if len(data or text or "") > protocol.MOST_FRAME_BYTES:
                raise Closing(protocol.TOO_LARGE, "a frame may hold 8 KiB")
            if data:
                await self._type(tail, data)
            elif text is not None:
                self._count_frame()
                await self._hear(text)

    async def _type(self, tail: Tail, data: bytes) -> None:
        """Write keystrokes to the host; waits while the host is behind, so that the client has to wait
        too.
        """
        while tail.state[0] == "attached":
            if await self._hub.participants.type(self._seat, data) is not Typed.WAIT:
                return
            await asyncio.sleep(WAIT_SECONDS)

    async def _hear(self, untrusted: str) -> None:
        try:
            word = protocol.read(untrusted)
        except protocol.BadFrame as bad:
            raise Closing(protocol.BAD_FRAME, str(bad)) from None
        match word:
            case protocol.Ack(offset):
                if self._acknowledged < offset <= self._position:
                    self._acknowledged = offset
                    self._moved_at = time.monotonic()
                    self._wake.set()
            case protocol.Take():
                await self._hub.participants.take(self._seat)
            case protocol.Release():
                await self._hub.participants.release(self._seat)

    def _count_frame(self) -> None:
        now = time.monotonic()
        rested = min(FRAMES_AT_ONCE, self._frames + (now - self._counted_at) * FRAMES_A_SECOND)
        self._frames = max(self._frames, rested) - 1
        self._counted_at = now
        if self._frames < 0:
            raise Closing(protocol.BAD_FRAME, "too many frames")

    # --- to the client

    async def _speak(self, tail: Tail, offset: int) -> None:
        start = await self._hub.start_of(tail)
        self._position = self._acknowledged = min(max(offset, start), tail.end)
        company = await self._hub.participants.company(self._seat)
        await self._say(
            protocol.hello(
                offset=self._position,
                end=tail.end,
                writer=company.writer,
                is_mine=company.is_mine,
                viewers=company.viewers,
            )
        )
        if offset < self._position:
            await self._say(protocol.gap(begin=offset, end=self._position))
        self._said = (None, tail.news)
        while True:
            self._wake.clear()
            try:
                has_more = await self._tell(tail)
            except (RedisError, OSError):
                await asyncio.sleep(RETRY_SECONDS)  # the hub reports that the broker is away
                continue
            if not has_more:
                await self._wake.wait()

    async def _tell(self, tail: Tail) -> bool:
        """Send state and presence if they changed, then some bytes; return whether there is more to send."""
        state, news = self._said
        if tail.state != state:
            self._said = (tail.state, news)
            await self._say(protocol.state(state=tail.state[0], reason=tail.state[1]))
        if tail.news != news:
            heard = tail.news
            now = await self._hub.participants.company(self._seat)
            self._said = (self._said[0], heard)
            await self._say(protocol.writer(user=now.writer, is_mine=now.is_mine, viewers=now.viewers))
        return await self._send_some(tail)

    async def _send_some(self, tail: Tail) -> bool:
        """Send one piece; return False if there is nothing to send or the window is full."""
        credit = WINDOW_BYTES - (self._position - self._acknowledged)
        if credit <= 0 or self._position >= tail.end:
            return False
        begin, data = await self._hub.read(tail, self._position)
        if begin > self._position:
            await self._say(protocol.gap(begin=self._position, end=begin))
            # missing bytes need no acknowledgement
            self._acknowledged += begin - self._position
            self._position = begin
        piece = data[: min(credit, CHUNK_BYTES)]
        if piece:
            if self._position == self._acknowledged:
                self._moved_at = time.monotonic()
            self._position += len(piece)
            self._frames += 1  # a client may acknowledge every piece
            await self._send({"type": "websocket.send", "bytes": piece})
        # sending does not wait below the server's write limit; without this, one flood starves the other
        # sockets
        await asyncio.sleep(0)
        return True

    async def _say(self, text: str) -> None:
        await self._send({"type": "websocket.send", "text": text})

    # --- periodic checks

    async def _look_after(self, tail: Tail) -> None:
        looked_at = time.monotonic()
        while True:
            await self._sleep(tail)
            with contextlib.suppress(RedisError, OSError):
                await self._hub.participants.renew(self._seat)
            is_full = self._position - self._acknowledged >= WINDOW_BYTES
            if is_full and time.monotonic() - self._moved_at > TIMEOUT_SECONDS:
                raise Closing(protocol.NO_ACKNOWLEDGEMENT, "nothing was acknowledged for a minute")
            if time.monotonic() - looked_at >= RIGHTS_SECONDS - RENEW_SECONDS:
                looked_at = time.monotonic()
                await self._look_at_rights(tail)

    async def _sleep(self, tail: Tail) -> None:
        """Sleep until the next renewal; meanwhile look for a detached console on other hosts."""
        until, looks = time.monotonic() + RENEW_SECONDS, 0
        while (left := until - time.monotonic()) > 0:
            await asyncio.sleep(min(1.0, left))
            # at once, in case it was migrated; then rarely, because most detached consoles are switched off
            if tail.state[0] != "attached" and looks < LOOKS_FOR_IT:
                looks += 1
                await self._look_at_rights(tail)

    async def _look_at_rights(self, tail: Tail) -> None:
        host = await database_sync_to_async(_host_now)(self._seat, self._session)
        if host is None and await database_sync_to_async(_is_deleted)(self._seat, self._session):
            raise Closing(protocol.MACHINE_GONE, "the machine is deleted")
        if host is None:
            raise Closing(protocol.RIGHTS_GONE, "you may no longer look at this machine")
        with contextlib.suppress(RedisError, OSError):
            if host != tail.place.host:
                await self._hub.move(tail, host)
        # same participant and input lock: keystrokes go to the new host
        self._seat = dataclasses.replace(self._seat, host=tail.place.host)

"""Limit the number of requests Django handles at once; others wait in a queue that is fair between addresses.

Without it, a thousand simultaneous clicks become a thousand threads that compete for the database: SQLite
reports "database is locked", PostgreSQL runs out of connections, and users see 500. A waiting request costs a
few bytes.

Reads and writes have separate slots. So have strangers: requests whose token or session was not authenticated
recently. Their number therefore does not delay known users, and strangers of different addresses are admitted
in rotation.
"""

import asyncio
import ipaddress
import math
import time
from collections import OrderedDict
from hashlib import sha256
from typing import ClassVar

from webxen.core.edge import READS, Asgi, Receive, Render, Scope, Send, header_of, refuse
from webxen.core.errors import UserError
from webxen.core.messages import Message

#: key in the scope, set by the handler when the token or session was valid
IS_KNOWN = "webxen.is_known"
#: key in the scope, set by the handler: the seconds for which the token, session or address is rate-limited
LIMITED = "limited_seconds"
#: how long a token or session counts as known after it was valid
KNOWN_SECONDS = 600.0
MOST_REMEMBERED = 10_000
#: one in this many slots is for strangers, and at least one
SEATS_PER_STRANGER = 4


class Seats:
    """A number of slots, given to waiting requests in rotation of their addresses. Used by one event loop."""

    def __init__(self, count: int) -> None:
        self._free = count
        #: by address; the next address to be served is first
        self._waiting: OrderedDict[str, dict[asyncio.Future[None], None]] = OrderedDict()

    def take_free(self) -> bool:
        """Take a slot if one is free; return whether it was."""
        if self._free <= 0:
            return False
        self._free -= 1
        return True

    async def wait(self, address: str) -> None:
        """Wait for a slot in rotation with other addresses. A cancelled caller holds no slot."""
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(address, {})[mine] = None
        try:
            await mine
        except asyncio.CancelledError:
            if mine.cancelled():
                self._leave_queue(address, mine)
            else:
                self.give_back()  # the slot had just been given to this caller
            raise

    def give_back(self) -> None:
        """Release a slot, or pass it to the next waiting request."""
        while self._waiting:
            address, queue = self._waiting.popitem(last=False)
            following = next(iter(queue))
            del queue[following]
            if queue:
                self._waiting[address] = queue
            if not following.done():
                following.set_result(None)
                return
        self._free += 1

    def _leave_queue(self, address: str, mine: asyncio.Future[None]) -> None:
        queue = self._waiting.get(address, {})
        queue.pop(mine, None)
        if not queue:
            self._waiting.pop(address, None)


class TooOftenError(UserError):
    """The client reached its rate limit recently; it is refused until the limit ends."""

    code: ClassVar[str] = "TOO_MANY_REQUESTS"
    status: ClassVar[int] = 429

    def __init__(self, seconds: int) -> None:
        super().__init__(Message("TOO_MANY_REQUESTS", n=seconds))
        self.retry_after_seconds = seconds


class Remembered:
    """What is known about recent tokens, sessions and addresses, with expiry. Used by one event loop."""

    def __init__(self) -> None:
        self._until: OrderedDict[bytes, float] = OrderedDict()

    def seconds_left(self, who: bytes | None) -> float:
        return 0.0 if who is None else self._until.get(who, 0.0) - time.monotonic()

    def note(self, who: bytes | None, seconds: float) -> None:
        """Remember `who` for this many seconds; 0 forgets it."""
        if who is None:
            return
        self._until.pop(who, None)
        if seconds > 0:
            self._until[who] = time.monotonic() + seconds
        while len(self._until) > MOST_REMEMBERED:
            self._until.popitem(last=False)


def with_request_queue(
    inside: Asgi, *, writers: int, readers: int, session_cookie: str, render: Render
) -> Asgi:
    """Wrap `inside` so that at most `writers` writing and `readers` reading requests are handled at once."""
    seats = {is_read: _shares(count) for is_read, count in ((False, writers), (True, readers))}
    known, limited = Remembered(), Remembered()

    async def enter(scope: Scope, receive: Receive, send: Send) -> None:
        credential = credential_of(scope, session_cookie)
        # rate limits apply to the API; pages are not refused here
        asker = (credential or address_of(scope).encode()) if scope["path"].startswith("/api/") else None
        if (seconds := limited.seconds_left(asker)) > 0:
            too_often = TooOftenError(math.ceil(seconds))
            await refuse(scope, receive, send, too_often, render=render, is_read=True)
            return
        is_read, is_known = scope["method"] in READS, known.seconds_left(credential) > 0
        lane = seats[is_read][is_known]
        # A write of a known user is carried out even after the client disconnected; all else is cancelled.
        may_leave = is_read or not is_known
        if not lane.take_free() and not await _wait(lane, scope, receive, may_leave=may_leave):
            return
        scope[IS_KNOWN] = False
        try:
            await inside(scope, receive, send)
        finally:
            lane.give_back()
            known.note(credential, KNOWN_SECONDS if scope[IS_KNOWN] else 0)
            limited.note(asker, scope.pop(LIMITED, 0))

    return enter


def _shares(count: int) -> dict[bool, Seats]:
    """Return the slots of strangers (False) and of known users (True)."""
    strangers = max(1, count // SEATS_PER_STRANGER)
    return {False: Seats(strangers), True: Seats(max(1, count - strangers))}


async def _wait(lane: Seats, scope: Scope, receive: Receive, *, may_leave: bool) -> bool:
    """Wait for a slot; return False if the client disconnected meanwhile."""
    address = address_of(scope)
    if not may_leave:
        await lane.wait(address)
        return True
    seat = asyncio.ensure_future(lane.wait(address))
    # after the body only http.disconnect can arrive
    gone = asyncio.ensure_future(receive())
    try:
        await asyncio.wait({seat, gone}, return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        _let_go(lane, seat)
        raise
    finally:
        gone.cancel()
    if gone.done() and not gone.cancelled():
        _let_go(lane, seat)
        return False
    return True


def _let_go(lane: Seats, seat: "asyncio.Future[None]") -> None:
    if seat.done():
        lane.give_back()
    else:
        seat.cancel()


def credential_of(scope: Scope, session_cookie: str) -> bytes | None:
    """Return a SHA-256 of the Authorization header, or else of the session cookie; None without either."""
    said = header_of(scope, b"authorization")
    if said is None:
        start = session_cookie.encode() + b"="
        cookies = (header_of(scope, b"cookie") or b"").split(b";")
        said = next((one.strip() for one in cookies if one.strip().startswith(start)), None)
    return None if said is None else sha256(said).digest()


def address_of(scope: Scope) -> str:
    """Return the client's address; for IPv6 the /64 network, because one client usually has a whole /64."""
    client = scope.get("client")
    return network_of(client[0]) if client else ""


def network_of(address: str) -> str:
    """Return an IPv4 address unchanged, an IPv6 address as its /64."""
    if ":" not in address:
        return address
    try:
        return str(ipaddress.ip_network((address.partition("%")[0], 64), strict=False))
    except ValueError:
        return address

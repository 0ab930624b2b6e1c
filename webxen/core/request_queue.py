"""A queue of requests before Django: so many are inside at once, the others wait, address by address.

Without it a thousand clicks at one moment become a thousand threads that fight for one database: SQLite's
timeout ends ("database is locked") and PostgreSQL's connections run out, and people read 500. Waiting
costs a few bytes each.

Reads and writes have seats of their own, and so have strangers: requests whose token or session has not been
seen to be good a moment ago. However many of those there are, people who are known are not in one queue with
them, and strangers of different addresses are let in by turns. No rule of the domain lives here.
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

#: where whoever answers notes in the scope that the token or session was good
IS_KNOWN = "webxen.is_known"
#: where whoever answers notes for how many seconds the token, session or address will be refused
LIMITED = "limited_seconds"
#: so long a token or session counts as known after it was good
KNOWN_SECONDS = 600.0
MOST_REMEMBERED = 10_000
#: of so many seats one is for strangers, and at least one
SEATS_PER_STRANGER = 4


class Seats:
    """So many seats. Who waits for one is let in by turns of their addresses. Used by one event loop."""

    def __init__(self, count: int) -> None:
        self._free = count
        #: by address, the one whose turn it is first
        self._waiting: OrderedDict[str, dict[asyncio.Future[None], None]] = OrderedDict()

    def take_free(self) -> bool:
        """Take a seat if one is free."""
        if self._free <= 0:
            return False
        self._free -= 1
        return True

    async def wait(self, address: str) -> None:
        """Take a seat once it is this address' turn. Whoever is cancelled has none."""
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(address, {})[mine] = None
        try:
            await mine
        except asyncio.CancelledError:
            if mine.cancelled():
                self._leave_queue(address, mine)
            else:
                self.give_back()  # it had just been given to this one
            raise

    def give_back(self) -> None:
        """The seat goes to the next one who waits."""
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
    """The limit was reached a moment ago; nobody is asked again before its time is up."""

    code: ClassVar[str] = "TOO_MANY_REQUESTS"
    status: ClassVar[int] = 429

    def __init__(self, seconds: int) -> None:
        super().__init__(f"Too many requests. Try again in {seconds} seconds.")
        self.retry_after_seconds = seconds


class Remembered:
    """What was found out about tokens, sessions and addresses a moment ago. Used by one event loop."""

    def __init__(self) -> None:
        self._until: OrderedDict[bytes, float] = OrderedDict()

    def seconds_left(self, who: bytes | None) -> float:
        return 0.0 if who is None else self._until.get(who, 0.0) - time.monotonic()

    def note(self, who: bytes | None, seconds: float) -> None:
        """For so many seconds; none: forget it."""
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
    """`inside`, entered by at most so many requests that write and so many that read."""
    seats = {is_read: _shares(count) for is_read, count in ((False, writers), (True, readers))}
    known, limited = Remembered(), Remembered()

    async def enter(scope: Scope, receive: Receive, send: Send) -> None:
        credential = credential_of(scope, session_cookie)
        # limits are the API's: nobody is kept from the pages by them
        asker = (credential or address_of(scope).encode()) if scope["path"].startswith("/api/") else None
        if (seconds := limited.seconds_left(asker)) > 0:
            too_often = TooOftenError(math.ceil(seconds))
            await refuse(scope, receive, send, too_often, render=render, is_read=True)
            return
        is_read, is_known = scope["method"] in READS, known.seconds_left(credential) > 0
        lane = seats[is_read][is_known]
        # What a known person asked to be written is written even if they have gone; all else is given up.
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
    """Seats of strangers (False) and of those who are known (True)."""
    strangers = max(1, count // SEATS_PER_STRANGER)
    return {False: Seats(strangers), True: Seats(max(1, count - strangers))}


async def _wait(lane: Seats, scope: Scope, receive: Receive, *, may_leave: bool) -> bool:
    """Wait for a seat; False when the client has gone meanwhile."""
    address = address_of(scope)
    if not may_leave:
        await lane.wait(address)
        return True
    seat = asyncio.ensure_future(lane.wait(address))
    # after the body nothing comes but http.disconnect
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
    """A hash of the request's Authorization header, or else of its session; None for neither."""
    said = header_of(scope, b"authorization")
    if said is None:
        start = session_cookie.encode() + b"="
        cookies = (header_of(scope, b"cookie") or b"").split(b";")
        said = next((one.strip() for one in cookies if one.strip().startswith(start)), None)
    return None if said is None else sha256(said).digest()


def address_of(scope: Scope) -> str:
    """The client's address; of IPv6 the network, because a client has a whole /64."""
    client = scope.get("client")
    return network_of(client[0]) if client else ""


def network_of(address: str) -> str:
    """An IPv4 address as it is, an IPv6 address as its /64."""
    if ":" not in address:
        return address
    try:
        return str(ipaddress.ip_network((address.partition("%")[0], 64), strict=False))
    except ValueError:
        return address

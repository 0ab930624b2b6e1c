"""Long polling (`?wait=`): requests that wait on the event loop without a thread or a database connection.

A view that supports waiting returns a response with a `Hold` attached. That response is not sent: the request
waits here, outside of the request queue, and the view is called a second time when the object has ended or
the time is up. One thread checks periodically for all waiting requests.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ClassVar

from django.db import Error, connection

from webxen.core.edge import Asgi, Receive, Render, Scope, Send, refuse
from webxen.core.errors import UserError
from webxen.core.messages import Message
from webxen.core.request_queue import credential_of

log = logging.getLogger(__name__)

#: name of the Hold: as an attribute of a response, and as a key of the scope
HOLD = "hold"
#: key, in the scope and in META, that marks a request that has waited; client headers are HTTP_* there
WAITED = "webxen.waited"
ENDED = "ended"
#: interval between checks whether an object has ended
LOOK_SECONDS = 0.5
RETRY_AFTER_SECONDS = 5
#: number of refused credentials that are remembered
MOST_REFUSED = 10_000


class TooManyHeldError(UserError):
    """The user, or all users together, have reached the limit of waiting requests."""

    code: ClassVar[str] = "TOO_MANY_WAITING"
    status: ClassVar[int] = 429
    retry_after_seconds: int | None = RETRY_AFTER_SECONDS

    def __init__(self) -> None:
        super().__init__(Message("TOO_MANY_WAITING"))


@dataclass(frozen=True)
class Hold:
    """What to wait for, on behalf of whom, and for how many seconds at most."""

    person: Hashable
    key: Hashable
    seconds: float
    #: returns those of these keys that have not ended; called on a thread with the keys of all waiting
    #: requests
    still_open: Callable[[Collection[Any]], Collection[Any]]


def has_waited(meta: Mapping[str, Any]) -> bool:
    """Whether this request has already waited."""
    return meta.get(WAITED) == ENDED


class HeldReads:
    """All waiting requests of this process. Used by one event loop."""

    def __init__(self, *, most: int, most_per_person: int) -> None:
        self._most, self._most_per_person = most, most_per_person
        self._persons: Counter[Hashable] = Counter()
        self._waiting: dict[Hold, list[asyncio.Event]] = {}
        self._looking: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="held")

    def has_room(self, person: Hashable) -> bool:
        return self._persons.total() < self._most and self._persons[person] < self._most_per_person

    async def wait(self, hold: Hold, receive: Receive) -> bool:
        """Wait until the object has ended or the time is up; return False once the client disconnects."""
        self._persons[hold.person] += 1
        ended = asyncio.Event()
        self._waiting.setdefault(hold, []).append(ended)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look_on())
        gone = asyncio.ensure_future(receive())
        over = asyncio.ensure_future(ended.wait())
        try:
            await asyncio.wait({gone, over}, timeout=hold.seconds, return_when=asyncio.FIRST_COMPLETED)
            return not gone.done()
        finally:
            gone.cancel()
            over.cancel()
            self._leave(hold, ended)

    def _leave(self, hold: Hold, ended: asyncio.Event) -> None:
        self._persons[hold.person] -= 1
        self._persons += Counter()  # drops persons with a count of zero
        self._waiting[hold].remove(ended)
        if not self._waiting[hold]:
            del self._waiting[hold]

    async def _look_on(self) -> None:
        while self._waiting:
            await asyncio.sleep(LOOK_SECONDS)
            holds = list(self._waiting)
            for look in {hold.still_open for hold in holds}:
                mine = [hold for hold in holds if hold.still_open == look]
                still_open = await self._look(look, {hold.key for hold in mine})
                for hold in mine:
                    if hold.key not in still_open:
                        for ended in self._waiting.get(hold, []):
                            ended.set()

    async def _look(
        self, still_open: Callable[[Collection[Any]], Collection[Any]], keys: Collection[Any]
    ) -> Collection[Any]:
        def look() -> Collection[Any]:
            try:
                return still_open(keys)
            finally:
                connection.close()

        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, look)
        except Error as error:
            log.warning("the database did not say what has ended: %s", error)
            return keys


def with_held_reads(inside: Asgi, *, held: HeldReads, session_cookie: str, render: Render) -> Asgi:
    """Wrap `inside` so that a request with a Hold waits and is then handled a second time.

    A client that was refused and asks again while the limit is still reached is refused at once, because
    authenticating it again would cost as much as an answer.
    """
    refused: dict[bytes, Hashable] = {}

    async def enter(scope: Scope, receive: Receive, send: Send) -> None:
        credential = credential_of(scope, session_cookie)
        if asks_to_wait(scope) and credential in refused:
            if not held.has_room(refused[credential]):
                await refuse(scope, receive, send, TooManyHeldError(), render=render, is_read=True)
                return
            del refused[credential]
        await inside(scope, receive, send)
        hold = scope.pop(HOLD, None)
        if hold is None:
            return
        if not held.has_room(hold.person):
            if credential is not None:
                refused[credential] = hold.person
                if len(refused) > MOST_REFUSED:
                    del refused[next(iter(refused))]
            await refuse(scope, receive, send, TooManyHeldError(), render=render, is_read=True)
            return
        if await held.wait(hold, receive):
            scope[WAITED] = ENDED
            await inside(scope, receive, send)

    return enter


def asks_to_wait(scope: Scope) -> bool:
    """Whether the query string has the parameter `wait`."""
    query = scope["query_string"]
    return query.startswith(b"wait=") or b"&wait=" in query

"""Transfer console bytes from Redis to the sockets of this process.

`Hub` has all consoles watched in this process, `Tail` the last bytes of one of them; a `Reader` reads the
streams of a host. The channel layer is not used, because groups drop messages silently under load. Memory is
bounded: a client that falls behind gets older bytes from Redis, and missing or invalid data is reported as a
gap.
"""

import asyncio
import contextlib
import logging
import weakref
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from django.conf import settings
from redis.exceptions import RedisError

from webxen.console import stream_history
from webxen.console.bounded import TooMuch, connect
from webxen.console.entries import end_in, piece_of, state_of
from webxen.console.participants import Participants, news_channel
from webxen.console.reading import BLOCK_MS, RETRY_SECONDS, Allowance, Reader, end_tasks
from worker.contract import console_out_key, console_state_key

log = logging.getLogger(__name__)

LOOK_SECONDS = 10.0
#: bytes of one console kept in this process
RECENT_BYTES = 256 << 10
#: limit for all hosts together
BYTES_A_SECOND = 64 << 20
NoteFlood = Callable[[str], Awaitable[None]]
SILENT = ("detached", "the host's console service does not answer")


class Tail:
    """The end of one machine's console."""

    def __init__(self, place: stream_history.Place, machine_id: str) -> None:
        self.machine_id = machine_id
        #: the stream that is read now, and those of earlier hosts
        self.place = place
        self.before: list[tuple[int, stream_history.Place]] = []
        #: offset after the last byte, as counted for clients
        self.end = 0
        self.last_id = "0-0"
        self.state: tuple[str, str] = SILENT
        #: incremented when participants or the input lock change
        self.news = 0
        self.watchers: set[Callable[[], None]] = set()
        self._recent: deque[tuple[int, bytes]] = deque()
        self._recent_bytes = 0

    @property
    def out_key(self) -> str:
        return console_out_key(self.place.host, self.machine_id)

    @property
    def state_key(self) -> str:
        return console_state_key(self.place.host, self.machine_id)

    def place_of(self, offset: int) -> stream_history.Place:
        """Return the stream that has this offset."""
        return next((place for until, place in self.before if offset < until), self.place)

    def take_in(self, entry_id: bytes, fields: dict[bytes, bytes]) -> None:
        """Keep an entry of a console service; ignore invalid entries."""
        self.last_id = entry_id.decode()
        if b"d" not in fields:
            self.state = state_of(fields.get(b"s"), fields.get(b"r")) or self.state
            return
        piece = piece_of(fields)
        if piece is None:
            return
        begin = piece.begin + self.place.shift
        if begin != self.end:
            self._forget()
        self._recent.append((begin, piece.data))
        self._recent_bytes += len(piece.data)
        while self._recent_bytes > RECENT_BYTES:
            self._recent_bytes -= len(self._recent.popleft()[1])
        self.end = begin + len(piece.data)

    def go_on_behind(self, entry_id: bytes) -> None:
        """Skip everything up to this entry."""
        self._forget()
        self.last_id = entry_id.decode()
        self.end = max(self.end, end_in(entry_id) + self.place.shift)

    def _forget(self) -> None:
        self._recent.clear()
        self._recent_bytes = 0

    def recent(self, offset: int) -> bytes | None:
        """Return the bytes from this offset to the end of their piece; None if it is not in memory."""
        if not self._recent or offset < self._recent[0][0]:
            return None
        for begin, data in self._recent:
            if begin <= offset < begin + len(data):
                return data[offset - begin :]
        return None

    def tell(self, state: tuple[str, str]) -> None:
        """Set the state and notify the watchers."""
        self.state = state
        self.ring()

    def ring(self) -> None:
        for watcher in self.watchers:
            watcher()


class Hub:
    """All consoles watched in this process."""

    def __init__(self, url: str, *, note_flood: NoteFlood | None = None) -> None:
        #: called with the name of a host whose streams contain too much
        self.note_flood = note_flood
        self._redis = connect(url, timeout_seconds=BLOCK_MS / 1000 + 10)
        self._blocking = connect(url, timeout_seconds=BLOCK_MS / 1000 + 10)
        self.participants = Participants(self._redis)
        self._tails: dict[tuple[str, str], Tail] = {}
        self._readers: dict[str, Reader] = {}
        self.allowance = Allowance(BYTES_A_SECOND)
        self._tasks: list[asyncio.Task[None]] = []
        self._news: Any = None

    async def follow(
        self, host: str, machine_id: str, watcher: Callable[[], None], *, came_from: str = ""
    ) -> Tail:
        """Start watching a console; `watcher` is called whenever there is something new.

        `came_from`: the host it was on before, if it ever migrated; its console may not have been watched
        then.
        """
        if not self._tasks:
            self._tasks = [asyncio.create_task(_work_on(work)) for work in (self._look, self._hear)]
        tail = self._tails.get((host, machine_id))
        if tail is None:
            tail = await self._open(host, machine_id, came_from)
            # another socket may have opened it meanwhile
            tail = self._tails.setdefault((host, machine_id), tail)
            self._follow_hosts(host)
        tail.watchers.add(watcher)
        return tail

    def leave(self, tail: Tail, watcher: Callable[[], None]) -> None:
        tail.watchers.discard(watcher)
        if not tail.watchers:
            self._tails.pop((tail.place.host, tail.machine_id), None)
            self._follow_hosts(tail.place.host)

    async def move(self, tail: Tail, host: str) -> None:
        """Continue a console on the machine's new host, for all its watchers, at the same byte."""
        if tail.place.host == host:
            return
        old = tail.place
        place = await stream_history.arrive(self._redis, host, tail.machine_id, old=old)
        if tail.place.host == host:
            return  # another task was faster
        tail.before.append((place.start, old))
        tail.place, tail.last_id = place, f"{place.begin}-0"
        # bytes that the old host wrote until then are read from its stream
        tail.end = max(tail.end, place.start)
        self._tails.pop((old.host, tail.machine_id), None)
        self._tails[host, tail.machine_id] = tail
        tail.state = ("moved", f"it is on {host} now")
        self._follow_hosts(old.host, host)
        tail.ring()

    def tails_of(self, host: str) -> dict[str, Tail]:
        """The watched consoles of a host, by the keys of their streams."""
        return {tail.out_key: tail for (place, _), tail in self._tails.items() if place == host}

    def _follow_hosts(self, *hosts: str) -> None:
        """Create or restart the readers of hosts whose set of watched consoles has changed."""
        for host in hosts:
            reader = self._readers.get(host)
            if reader is not None:
                reader.change()
            elif self.tails_of(host):
                self._readers[host] = Reader(self, self._blocking, host)

    async def read(self, tail: Tail, offset: int) -> tuple[int, bytes]:
        """Return bytes from `offset` on with their offset, which is later if earlier bytes are no longer
        kept.
        """
        piece = tail.recent(offset)
        if piece is not None:
            return offset, piece
        place = tail.place_of(offset)
        key = console_out_key(place.host, tail.machine_id)
        first = max(offset - place.shift, place.begin) + 1
        for untrusted in await self._range(key, f"{first}-0", count=2):
            found = piece_of(untrusted)
            if found is not None and (rest := found.data[max(0, offset - found.begin - place.shift) :]):
                return max(found.begin + place.shift, offset), rest
        return max(offset, tail.end), b""

    async def _range(self, key: str, begin: str, *, count: int) -> list[dict[bytes, bytes]]:
        """Return entries from an id on; none if they are larger than any that a console service writes."""
        try:
            found: Any = await self._redis.xrange(key, min=begin, count=count)
        except TooMuch:
            return []
        return [fields for _, fields in found]

    async def start_of(self, tail: Tail) -> int:
        """Return the offset of the first byte still kept."""
        for place in (*(place for _, place in tail.before), tail.place):
            key = console_out_key(place.host, tail.machine_id)
            for untrusted in await self._range(key, f"{place.begin}-0", count=4):
                if (found := piece_of(untrusted)) is not None:
                    return found.begin + place.shift
        return tail.end

    async def close(self) -> None:
        await end_tasks(*self._tasks, *(reader.task for reader in self._readers.values()))
        for client in (self._redis, self._blocking):
            await client.aclose()

    async def _open(self, host: str, machine_id: str, came_from: str) -> Tail:
        known = await stream_history.history(self._redis, host, machine_id)
        tail = Tail(known.place, machine_id)
        tail.before = known.before
        if came_from not in ("", host) and not (known.is_last and known.before):
            old = await self._open(came_from, machine_id, "")
            tail.place = await stream_history.arrive(self._redis, host, machine_id, old=old.place)
            tail.before = [*old.before, (tail.place.start, old.place)]
        await self._place(tail)
        return tail

    async def _place(self, tail: Tail) -> None:
        """Set the end of the stream and the state of the console."""
        last = await stream_history.last_id(self._redis, tail.out_key)
        if last:
            tail.last_id = last.decode()
            tail.end = end_in(last) + tail.place.shift
        tail.state = (await self._states([tail]))[0]

    async def _states(self, tails: list[Tail]) -> list[tuple[str, str]]:
        """Return the consoles' states as reported by their hosts; SILENT if not readable."""
        pipe = self._redis.pipeline(transaction=False)
        for tail in tails:
            pipe.hmget(tail.state_key, "state", "reason")
        answers = await pipe.execute(raise_on_error=False)
        return [(state_of(*said) if isinstance(said, list) else None) or SILENT for said in answers]

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self.look_once()

    async def look_once(self) -> None:
        """Update all states: those of a killed console service expire."""
        tails = list(self._tails.values())
        if not tails:
            return
        try:
            states = await self._states(tails)
        except (RedisError, OSError):
            return  # the readers notice and report it too
        for tail, now in zip(tails, states, strict=True):
            if now != tail.state:
                tail.tell(now)

    async def _hear(self) -> None:
        """Receive changes of input locks and participants from the news channels."""
        while True:
            with contextlib.suppress(RedisError, OSError):
                async with self._blocking.pubsub() as pubsub:
                    await pubsub.psubscribe(news_channel("*"))
                    self._ring_all()
                    async for message in pubsub.listen():
                        self._ring_for(message)
            await asyncio.sleep(RETRY_SECONDS)

    def _ring_all(self) -> None:
        for tail in self._tails.values():
            tail.news += 1
            tail.ring()

    def _ring_for(self, message: dict[str, Any]) -> None:
        if message["type"] != "pmessage":
            return
        channel = message["channel"].decode()
        for (_, machine_id), tail in self._tails.items():
            if channel == news_channel(machine_id):
                tail.news += 1
                tail.ring()


async def _work_on(work: Callable[[], Awaitable[None]]) -> None:
    """Restart `work` whenever it ends: an error must not stop what all consoles need."""
    while True:
        task = asyncio.ensure_future(work())
        try:
            await asyncio.wait({task})
        finally:
            task.cancel()
        if not task.cancelled() and task.exception() is not None:
            log.error("a task of the consoles ended and begins anew", exc_info=task.exception())
        await asyncio.sleep(RETRY_SECONDS)


_hubs: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Hub]" = weakref.WeakKeyDictionary()


def hub(note_flood: NoteFlood | None = None) -> Hub:
    """Return the hub of this event loop; `note_flood` is used if it is created."""
    loop = asyncio.get_running_loop()
    found = _hubs.get(loop)
    if found is None:
        found = _hubs[loop] = Hub(settings.WEBXEN_REDIS_URL, note_flood=note_flood)
    return found

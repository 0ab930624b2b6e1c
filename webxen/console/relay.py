"""Console bytes from Redis to the sockets of this process.

Lives here: `Hub` (one connection reads the streams of all consoles somebody here looks at) and `Tail` (the
last bytes of one of them). Never the channel layer: groups drop what is too much without a word. Memory is
bounded: a reader who falls behind reads older bytes from Redis, and what is no longer there is a gap.
"""

import asyncio
import contextlib
import logging
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any

from django.conf import settings
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from webxen.console import places
from webxen.console.seats import Seats, news_channel
from worker.contract import console_out_key, console_state_key

log = logging.getLogger(__name__)

BLOCK_MS = 20_000
RETRY_SECONDS = 1.0
LOOK_SECONDS = 10.0
#: bytes of one console kept in this process for those who follow it
RECENT_BYTES = 256 << 10
#: entries taken from each stream at a time; an entry has at most 32 KiB
READ_ENTRIES = 16
SILENT = ("detached", "the host's console service does not answer")
BROKER_AWAY = ("detached", "the portal's message broker is away")


class Tail:
    """The end of one machine's console."""

    def __init__(self, place: places.Place, machine_id: str) -> None:
        self.machine_id = machine_id
        #: where its bytes are read; before that, where they were
        self.place = place
        self.before: list[tuple[int, places.Place]] = []
        #: offset after the last byte there is, as those who look count
        self.end = 0
        self.last_id = "0-0"
        self.state: tuple[str, str] = SILENT
        #: counts up when who is here or who writes has changed
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

    def place_of(self, offset: int) -> places.Place:
        """Which host's stream holds this offset."""
        return next((place for until, place in self.before if offset < until), self.place)

    def take_in(self, entry_id: str, fields: dict[bytes, bytes]) -> None:
        self.last_id = entry_id
        if b"d" in fields:
            begin, data = int(fields[b"o"]) + self.place.shift, fields[b"d"]
            if begin != self.end:
                self._recent.clear()
                self._recent_bytes = 0
            self._recent.append((begin, data))
            self._recent_bytes += len(data)
            while self._recent_bytes > RECENT_BYTES:
                self._recent_bytes -= len(self._recent.popleft()[1])
            self.end = begin + len(data)
        elif b"s" in fields:
            self.state = (fields[b"s"].decode(), fields.get(b"r", b"").decode())

    def recent(self, offset: int) -> bytes | None:
        """The piece that holds this offset, from there on; None when it is not in memory."""
        if not self._recent or offset < self._recent[0][0]:
            return None
        for begin, data in self._recent:
            if begin <= offset < begin + len(data):
                return data[offset - begin :]
        return None

    def ring(self) -> None:
        for watcher in self.watchers:
            watcher()


class Hub:
    """All consoles looked at through this process."""

    def __init__(self, url: str) -> None:
        self._redis = connect(url)
        self._blocking = connect(url)
        self.seats = Seats(self._redis)
        self._tails: dict[tuple[str, str], Tail] = {}
        self._followed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._news: Any = None

    async def follow(
        self, host: str, machine_id: str, watcher: Callable[[], None], *, came_from: str = ""
    ) -> Tail:
        """Begin to follow a console; `watcher` is called whenever there is something new.

        `came_from`: the host it was on before, if it ever moved; nobody may have looked at its console then.
        """
        if not self._tasks:
            self._tasks = [asyncio.create_task(work) for work in (self._read(), self._look(), self._hear())]
        tail = self._tails.get((host, machine_id))
        if tail is None:
            tail = await self._open(host, machine_id, came_from)
            # somebody else may have come while we asked
            tail = self._tails.setdefault((host, machine_id), tail)
            self._followed.set()
        tail.watchers.add(watcher)
        return tail

    def leave(self, tail: Tail, watcher: Callable[[], None]) -> None:
        tail.watchers.discard(watcher)
        if not tail.watchers:
            self._tails.pop((tail.place.host, tail.machine_id), None)
            self._followed.set()

    async def move(self, tail: Tail, host: str) -> None:
        """The machine is on another host: all who look at it here go on there, at the byte where they are."""
        if tail.place.host == host:
            return
        old = tail.place
        place = await places.arrive(self._redis, host, tail.machine_id, old=old)
        if tail.place.host == host:
            return  # somebody else was quicker
        tail.before.append((place.start, old))
        tail.place, tail.last_id = place, f"{place.begin}-0"
        # what the old host told while it was waited for is read from its stream
        tail.end = max(tail.end, place.start)
        self._tails.pop((old.host, tail.machine_id), None)
        self._tails[host, tail.machine_id] = tail
        tail.state = ("moved", f"it is on {host} now")
        self._followed.set()
        tail.ring()

    async def read(self, tail: Tail, offset: int) -> tuple[int, bytes]:
        """Bytes from `offset` on, and where they begin: later, when those before are no longer kept."""
        piece = tail.recent(offset)
        if piece is not None:
            return offset, piece
        place = tail.place_of(offset)
        key = console_out_key(place.host, tail.machine_id)
        first = max(offset - place.shift, place.begin) + 1
        found: Any = await self._redis.xrange(key, min=f"{first}-0", count=2)
        for _, fields in found:
            if b"d" in fields:
                begin, data = int(fields[b"o"]) + place.shift, fields[b"d"]
                return max(begin, offset), data[max(0, offset - begin) :]
        return max(offset, tail.end), b""

    async def start_of(self, tail: Tail) -> int:
        """Offset of the first byte still kept."""
        for place in (*(place for _, place in tail.before), tail.place):
            key = console_out_key(place.host, tail.machine_id)
            found: Any = await self._redis.xrange(key, min=f"{place.begin}-0", count=4)
            begins = [int(fields[b"o"]) + place.shift for _, fields in found if b"d" in fields]
            if begins:
                return begins[0]
        return tail.end

    async def close(self) -> None:
        await end_tasks(*self._tasks)
        for client in (self._redis, self._blocking):
            await client.aclose()

    async def _open(self, host: str, machine_id: str, came_from: str) -> Tail:
        known = await places.history(self._redis, host, machine_id)
        tail = Tail(known.place, machine_id)
        tail.before = known.before
        if came_from not in ("", host) and not (known.is_last and known.before):
            old = await self._open(came_from, machine_id, "")
            tail.place = await places.arrive(self._redis, host, machine_id, old=old.place)
            tail.before = [*old.before, (tail.place.start, old.place)]
        await self._place(tail)
        return tail

    async def _place(self, tail: Tail) -> None:
        """Where the stream ends and how the console is."""
        pipe = self._redis.pipeline(transaction=False)
        pipe.xrevrange(tail.out_key, count=1)
        pipe.hmget(tail.state_key, "state", "reason")
        last, (state, reason) = await pipe.execute()
        if last:
            tail.last_id = last[0][0].decode()
            tail.end = int(tail.last_id.split("-")[0]) + tail.place.shift
        tail.state = (state.decode(), (reason or b"").decode()) if state else SILENT

    async def _read(self) -> None:
        """Read all streams at once; begin anew when which ones has changed."""
        while True:
            self._followed.clear()
            reading = asyncio.create_task(self._read_streams())
            changed = asyncio.create_task(self._followed.wait())
            try:
                await asyncio.wait({reading, changed}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                # giving up a blocked read drops its connection
                await end_tasks(reading, changed)

    async def _read_streams(self) -> None:
        while True:
            tails = {tail.out_key: tail for tail in self._tails.values()}
            if not tails:
                await asyncio.Event().wait()  # until somebody comes, which ends this task
            try:
                places: Any = {key: tail.last_id for key, tail in tails.items()}
                news: Any = await self._blocking.xread(places, count=READ_ENTRIES, block=BLOCK_MS)
            except (RedisError, OSError) as error:
                await self._broker_is_away(error)
                continue
            for key, entries in news or ():
                tail = tails[key.decode()]
                if tail.out_key != key.decode():
                    continue  # it went to another host meanwhile, whose bytes count otherwise
                for entry_id, fields in entries:
                    tail.take_in(entry_id.decode(), fields)
                tail.ring()
                await asyncio.sleep(0)

    async def _broker_is_away(self, error: Exception) -> None:
        log.info("console streams cannot be read: %s", error)
        for tail in self._tails.values():
            tail.state = BROKER_AWAY
            tail.ring()
        await self._blocking.connection_pool.disconnect()
        await asyncio.sleep(RETRY_SECONDS)
        await self._look_once()

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self._look_once()

    async def _look_once(self) -> None:
        """A console service that was killed says nothing: its states expire."""
        tails = list(self._tails.values())
        if not tails:
            return
        pipe = self._redis.pipeline(transaction=False)
        for tail in tails:
            pipe.hmget(tail.state_key, "state", "reason")
        try:
            answers = await pipe.execute()
        except (RedisError, OSError):
            return  # the reader finds out as well, and says so
        for tail, (state, reason) in zip(tails, answers, strict=True):
            now = (state.decode(), (reason or b"").decode()) if state else SILENT
            if now != tail.state:
                tail.state = now
                tail.ring()

    async def _hear(self) -> None:
        """Pen and company change: messages on the news channels, which carry nothing but the ring."""
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


async def end_tasks(*tasks: "asyncio.Task[Any]") -> None:
    """Cancel until they have ended: before Python 3.12, asyncio.wait_for may swallow a cancellation."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=0.1)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # seen, so that nobody complains that it was not


def connect(url: str) -> "Redis":
    """A client that fails at once and never gives up a blocked read before the server does."""
    return Redis.from_url(
        url.replace("redis+socket://", "unix://", 1),
        socket_timeout=BLOCK_MS / 1000 + 10,
        socket_connect_timeout=3,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
    )


_hubs: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Hub]" = weakref.WeakKeyDictionary()


def hub() -> Hub:
    """The hub of this event loop."""
    loop = asyncio.get_running_loop()
    found = _hubs.get(loop)
    if found is None:
        found = _hubs[loop] = Hub(settings.WEBXEN_REDIS_URL)
    return found

"""Consoles in Redis: what was printed goes up, what was typed comes down, and the state stands beside.

Lives here: `Stream` (one machine's place in its stream) and `Uplink` (all of them over two connections).
Redis may be away at any time: nothing here holds console bytes, they are read from the machine's log.

A stream entry's id is the offset after its last byte. So the stream refuses a byte twice, is trimmed by
bytes rather than entries, and a reader finds any offset without searching. Entries with `s` instead of
`d` tell a change of state between the bytes.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from worker.console.log import ConsoleLog
from worker.contract import console_in_key, console_out_key, console_state_key

log = logging.getLogger(__name__)

CHUNK_BYTES = 32 << 10
#: a machine's stream holds about this many bytes
KEEP_BYTES = 1 << 20
#: the state is gone from Redis when nobody has renewed it for this long: the console service is silent
STATE_SECONDS = 30
RENEW_SECONDS = 10
#: keystrokes older than this, by the broker's clock, are for a prompt that is no longer there
STALE_MS = 10_000
#: consoles of machines that are off are kept in Redis for this long
OUT_SECONDS = 30 * 86400
RETRY_SECONDS = 1.0
LAST_SECONDS = 2.0
#: what a guest prints while nobody types is gathered this long: each word to the broker costs the
#: processor that the guest boots on
GATHER_SECONDS = 0.2
#: somebody types: the echo is not kept waiting
TYPED_SECONDS = 2.0
BLOCK_MS = 20_000


class Stream:
    """One machine's console on its way up."""

    def __init__(self, host: str, console_log: ConsoleLog) -> None:
        self.log = console_log
        self.out_key = console_out_key(host, console_log.machine_id)
        self.in_key = console_in_key(host, console_log.machine_id)
        self.state_key = console_state_key(host, console_log.machine_id)
        self.state, self.reason = "detached", "the machine is not running"
        #: offset up to which the stream has the bytes; None: ask it first
        self.published: int | None = None
        self.is_state_new = True

    @property
    def is_behind(self) -> bool:
        return self.published is None or self.published < self.log.end or self.is_state_new

    def set_state(self, state: str, reason: str) -> bool:
        """Remember the state; answers whether it changed."""
        is_change = (state, reason) != (self.state, self.reason)
        self.state, self.reason = state, reason
        self.is_state_new = self.is_state_new or is_change
        return is_change

    def facts(self) -> Any:
        return {"state": self.state, "reason": self.reason, "start": self.log.start, "end": self.log.end}


class Keyboard(Protocol):
    """Where keystrokes go."""

    def is_full(self, machine_id: str) -> bool:
        """The machine takes no input for now."""

    def type_at(self, machine_id: str, data: bytes) -> None:
        """Type; a machine that is not there takes nothing."""


class Uplink:
    """The consoles of one host and Redis. `publish` and `listen` run for as long as the process does."""

    def __init__(self, broker_url: str, keyboard: Keyboard) -> None:
        # one connection waits for keystrokes all the time, so it is not the one that prints
        self._up = connect(broker_url, self._on_connect)
        self._down = connect(broker_url)
        self._keyboard = keyboard
        self.streams: dict[str, Stream] = {}
        self._wake = asyncio.Event()
        self._listeners_changed = asyncio.Event()
        self._listening: dict[str, str] = {}
        self._is_away = False
        self._typed = asyncio.Event()
        self._typed_at = self._published_at = float("-inf")
        #: why keystrokes could not be read last time, so that the log says it once
        self._deaf_because = ""

    def wake(self) -> None:
        """Something was printed or changed."""
        self._wake.set()

    def hear(self, machine_ids: Iterable[str]) -> None:
        """Take keystrokes for these machines, and for no others."""
        wanted = {machine_id: self._listening.get(machine_id, "") for machine_id in machine_ids}
        if wanted.keys() != self._listening.keys():
            self._listening = wanted
            self.listen_again()

    def listen_again(self) -> None:
        """Whom to listen to has changed: a machine came, went or takes input again."""
        self._listeners_changed.set()

    async def forget(self, stream: Stream) -> None:
        """The machine is deleted: nothing of its console stays."""
        with contextlib.suppress(RedisError, OSError):
            await self._up.delete(stream.out_key, stream.in_key, stream.state_key)

    async def publish(self) -> None:
        """Bring the streams up to the logs whenever they are behind."""
        renewed_at = time.monotonic()
        while True:
            try:
                async with asyncio.timeout(RENEW_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                pass
            await self._gather()
            self._wake.clear()
            try:
                await self._publish_round()
                self._published_at = time.monotonic()
                if time.monotonic() - renewed_at >= RENEW_SECONDS - 1:
                    await self._renew()
                    renewed_at = time.monotonic()
                self._back()
            except (RedisError, OSError) as error:
                await self._gone(error)

    async def _gather(self) -> None:
        """Let more be printed first, where nobody waits for it and no stream has much to tell."""
        now = time.monotonic()
        is_urgent = now - self._typed_at < TYPED_SECONDS or any(
            stream.published is None
            or stream.is_state_new
            or stream.log.end - stream.published >= CHUNK_BYTES
            for stream in self.streams.values()
        )
        self._typed.clear()
        if not is_urgent:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._published_at + GATHER_SECONDS - now):
                    await self._typed.wait()

    async def publish_last(self) -> None:
        """One more round before the process ends, then hang up."""
        with contextlib.suppress(RedisError, OSError, TimeoutError):
            async with asyncio.timeout(LAST_SECONDS):
                await self._ask_anew()
                await self._publish_round()
        await self._up.aclose()
        await self._down.aclose()

    async def _publish_round(self) -> None:
        behind = [stream for stream in self.streams.values() if stream.is_behind]
        if not behind:
            return
        await self._find_places([stream for stream in behind if stream.published is None])
        pipe = self._up.pipeline(transaction=False)
        sent = [(stream, kind) for stream in behind for kind in self._queue(pipe, stream)]
        for (stream, expected), answer in zip(sent, await pipe.execute(raise_on_error=False), strict=True):
            if isinstance(answer, ResponseError) and "equal or smaller" in str(answer):
                stream.published = None  # it has them already
            elif isinstance(answer, Exception):
                raise answer
            elif expected is not None and stream.published is not None:
                stream.published = expected
        if any(stream.is_behind for stream in behind):
            self._wake.set()

    async def _find_places(self, streams: list[Stream]) -> None:
        """Ask each stream how far it has come: after a restart, a lost answer, a new connection."""
        if not streams:
            return
        pipe = self._up.pipeline(transaction=False)
        for stream in streams:
            pipe.xrange(stream.out_key, count=1)
            pipe.xrevrange(stream.out_key, count=1)
        answers = await pipe.execute()
        for stream, first, last in zip(streams, answers[::2], answers[1::2], strict=True):
            shown = _offset(last[0][0]) if last else 0
            stream.log.count_on_from(shown)
            begin = int(first[0][1].get(b"o", _offset(first[0][0]))) if first else 0
            if begin > max(stream.log.start, shown - KEEP_BYTES):
                # the broker has lost older bytes that we have: tell them all again, ids are the same
                await self._up.delete(stream.out_key)
                shown = 0
            stream.published = max(stream.log.start, shown or stream.log.end - KEEP_BYTES)
            stream.is_state_new = True

    def _queue(self, pipe: Any, stream: Stream) -> list[int | None]:
        """Queue what the stream lacks; answers, for each command queued, the offset it will have reached."""
        queued: list[int | None] = []
        at = max(stream.published or 0, stream.log.start)
        data = stream.log.read(at, CHUNK_BYTES)
        if data:
            end = at + len(data)
            pipe.xadd(
                stream.out_key,
                {"o": at, "d": data},
                id=f"{end}-0",
                minid=str(max(0, end - KEEP_BYTES)),
                approximate=True,
            )
            queued.append(end)
        if stream.is_state_new and at + len(data) == stream.log.end:
            pipe.xadd(stream.out_key, {"s": stream.state, "r": stream.reason}, id=f"{stream.log.end}-*")
            pipe.hset(stream.state_key, mapping=stream.facts())
            pipe.expire(stream.state_key, STATE_SECONDS)
            pipe.expire(stream.out_key, OUT_SECONDS)
            queued += [None] * 4
            stream.is_state_new = False
        return queued

    async def _renew(self) -> None:
        pipe = self._up.pipeline(transaction=False)
        for stream in self.streams.values():
            pipe.hset(stream.state_key, mapping=stream.facts())
            pipe.expire(stream.state_key, STATE_SECONDS)
        await pipe.execute()

    async def _on_connect(self, connection: Any) -> None:
        """Behind a new connection may be a broker that was restarted and has lost something."""
        await connection.on_connect()
        for stream in self.streams.values():
            stream.published = None
        self._wake.set()

    def _back(self) -> None:
        if self._is_away:
            self._is_away = False
            log.info("the broker is back")

    async def _gone(self, error: Exception) -> None:
        if not self._is_away:
            self._is_away = True
            log.warning("the broker is away, consoles are kept on disk: %s", error)
        await self._ask_anew()
        await asyncio.sleep(RETRY_SECONDS)
        self._wake.set()

    async def _ask_anew(self) -> None:
        """A round was broken off: the broker may have taken what it never confirmed."""
        for stream in self.streams.values():
            stream.published = None
        await self._up.connection_pool.disconnect()

    async def listen(self) -> None:
        """Hand keystrokes to the machines as they come."""
        while True:
            self._listeners_changed.clear()
            reading = asyncio.create_task(self._listen())
            changed = asyncio.create_task(self._listeners_changed.wait())
            try:
                await asyncio.wait({reading, changed}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                # giving up a blocked read drops its connection; a new one is cheap and seldom needed
                await end_tasks(reading, changed)

    async def _listen(self) -> None:
        while True:
            try:
                await self._start_points()
                ready = [
                    machine_id for machine_id in self._listening if not self._keyboard.is_full(machine_id)
                ]
                if not ready:
                    await asyncio.Event().wait()  # until `listen_again` ends this task
                await self._hear_once({self.streams[machine_id].in_key: machine_id for machine_id in ready})
            except (RedisError, OSError) as error:
                if str(error) != self._deaf_because:
                    self._deaf_because = str(error)
                    log.warning("keystrokes cannot be read: %s", error)
                await self._down.connection_pool.disconnect()
                await asyncio.sleep(RETRY_SECONDS)

    async def _start_points(self) -> None:
        """Where to begin reading: what was typed in the last seconds counts, what is older does not."""
        if all(self._listening.values()):
            return
        seconds, micros = await self._down.time()
        begin = f"{max(0, seconds * 1000 + micros // 1000 - STALE_MS)}-0"
        for machine_id, last_id in self._listening.items():
            self._listening[machine_id] = last_id or begin

    async def _hear_once(self, machines: dict[str, str]) -> None:
        places: Any = {key: self._listening[machine_id] for key, machine_id in machines.items()}
        # few entries a turn: a guest that is slow to take them is noticed before much is piled up
        heard: Any = await self._down.xread(places, count=8, block=BLOCK_MS)
        if heard:
            self._typed_at = time.monotonic()
            self._typed.set()
        for raw_key, entries in heard or ():
            key = raw_key.decode()
            machine_id = machines[key]
            self._keyboard.type_at(machine_id, b"".join(fields.get(b"d", b"") for _, fields in entries))
            if machine_id in self._listening:
                self._listening[machine_id] = entries[-1][0].decode()
            # what was typed may be a password: it does not stay in the broker
            await self._down.xdel(key, *(entry_id for entry_id, _ in entries))


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


def _offset(entry_id: bytes) -> int:
    return int(entry_id.split(b"-")[0])


def connect(broker_url: str, on_connect: Callable[[Any], Awaitable[None]] | None = None) -> "Redis":
    """A client that answers at once or fails: who waits and for how long is decided here, not in it."""
    url = broker_url.replace("redis+socket://", "unix://", 1)
    return Redis.from_url(
        url,
        # longer than BLOCK_MS: redis-py's own 5 s would end every blocked read with an error
        socket_timeout=BLOCK_MS / 1000 + 10,
        socket_connect_timeout=3,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        redis_connect_func=on_connect,
    )

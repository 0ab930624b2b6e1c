"""Consoles in Redis: output is published, input is read, and the state is kept beside.

`Stream` is one machine's position in its stream; `Uplink` serves all of them over two connections. Redis may
be unavailable at any time: console bytes are not buffered here but read from the machine's log.

A stream entry's id is the offset after its last byte. So Redis refuses duplicate bytes, the stream is trimmed
by bytes rather than entries, and a reader finds any offset directly. Entries with `s` instead of `d` record a
change of state between the bytes.
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
#: the state expires in Redis after this time without renewal: the console service is not running
STATE_SECONDS = 30
RENEW_SECONDS = 10
#: keystrokes older than this, by the broker's clock, are dropped: they were meant for an earlier prompt
STALE_MS = 10_000
#: how long consoles of machines that are off are kept in Redis
OUT_SECONDS = 30 * 86400
RETRY_SECONDS = 1.0
LAST_SECONDS = 2.0
#: how long output is gathered while nobody types: each command to Redis uses the processor that the guest
#: boots on
GATHER_SECONDS = 0.2
#: how long after a keystroke output is published at once, so that the echo is not delayed
TYPED_SECONDS = 2.0
BLOCK_MS = 20_000


class Stream:
    """One machine's console, and how much of it was published to Redis."""

    def __init__(self, host: str, console_log: ConsoleLog) -> None:
        self.log = console_log
        self.out_key = console_out_key(host, console_log.machine_id)
        self.in_key = console_in_key(host, console_log.machine_id)
        self.state_key = console_state_key(host, console_log.machine_id)
        self.state, self.reason = "detached", "the machine is not running"
        #: offset up to which Redis has the bytes; None: unknown, to be read from Redis
        self.published: int | None = None
        self.is_state_new = True

    @property
    def is_behind(self) -> bool:
        return self.published is None or self.published < self.log.end or self.is_state_new

    def set_state(self, state: str, reason: str) -> bool:
        """Set the state. Returns whether it changed."""
        is_change = (state, reason) != (self.state, self.reason)
        self.state, self.reason = state, reason
        self.is_state_new = self.is_state_new or is_change
        return is_change

    def facts(self) -> Any:
        return {"state": self.state, "reason": self.reason, "start": self.log.start, "end": self.log.end}


class Keyboard(Protocol):
    """Receives keystrokes."""

    def is_full(self, machine_id: str) -> bool:
        """Whether the machine takes no input for now."""

    def type_at(self, machine_id: str, data: bytes) -> None:
        """Type at a machine. Does nothing if no console is attached."""


class Uplink:
    """The consoles of one host in Redis. `publish` and `listen` run as long as the process does."""

    def __init__(self, broker_url: str, keyboard: Keyboard) -> None:
        # one connection blocks in reading keystrokes, so output uses another one
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
        #: the last error in reading keystrokes, so that it is logged once
        self._deaf_because = ""

    def wake(self) -> None:
        """Wake `publish`: something was printed or changed."""
        self._wake.set()

    def hear(self, machine_ids: Iterable[str]) -> None:
        """Read keystrokes for these machines only."""
        wanted = {machine_id: self._listening.get(machine_id, "") for machine_id in machine_ids}
        if wanted.keys() != self._listening.keys():
            self._listening = wanted
            self.listen_again()

    def listen_again(self) -> None:
        """Restart `listen`: a machine came, went or takes input again."""
        self._listeners_changed.set()

    async def forget(self, stream: Stream) -> None:
        """Delete a deleted machine's console from Redis."""
        with contextlib.suppress(RedisError, OSError):
            await self._up.delete(stream.out_key, stream.in_key, stream.state_key)

    async def publish(self) -> None:
        """Publish output whenever a stream is behind its log."""
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
        """Wait for more output, unless somebody types or a stream has much to publish."""
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
        """Publish once more before the process ends, then close the connections."""
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
                stream.published = None  # Redis has these bytes already
            elif isinstance(answer, Exception):
                raise answer
            elif expected is not None and stream.published is not None:
                stream.published = expected
        if any(stream.is_behind for stream in behind):
            self._wake.set()

    async def _find_places(self, streams: list[Stream]) -> None:
        """Read how far each stream has come: after a restart, a lost answer or a new connection."""
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
                # Redis has lost older bytes that the log has: publish them again with the same ids
                await self._up.delete(stream.out_key)
                shown = 0
            stream.published = max(stream.log.start, shown or stream.log.end - KEEP_BYTES)
            stream.is_state_new = True

    def _queue(self, pipe: Any, stream: Stream) -> list[int | None]:
        """Queue commands for what the stream lacks. Returns the offset reached after each, or None."""
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
        """A new connection may be to a broker that was restarted and has lost data."""
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
        """A round was interrupted: Redis may have executed commands that it did not confirm."""
        for stream in self.streams.values():
            stream.published = None
        await self._up.connection_pool.disconnect()

    async def listen(self) -> None:
        """Pass keystrokes to the machines as they come."""
        while True:
            self._listeners_changed.clear()
            reading = asyncio.create_task(self._listen())
            changed = asyncio.create_task(self._listeners_changed.wait())
            try:
                await asyncio.wait({reading, changed}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                # cancelling a blocked read drops its connection; a new one is cheap and seldom needed
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
        """Set where to begin reading: keystrokes of the last seconds count, older ones do not."""
        if all(self._listening.values()):
            return
        seconds, micros = await self._down.time()
        begin = f"{max(0, seconds * 1000 + micros // 1000 - STALE_MS)}-0"
        for machine_id, last_id in self._listening.items():
            self._listening[machine_id] = last_id or begin

    async def _hear_once(self, machines: dict[str, str]) -> None:
        places: Any = {key: self._listening[machine_id] for key, machine_id in machines.items()}
        # few entries per turn, so that a slow guest is noticed before much is pending
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
            # what was typed may be a password, so it does not stay in the broker
            await self._down.xdel(key, *(entry_id for entry_id, _ in entries))


async def end_tasks(*tasks: "asyncio.Task[Any]") -> None:
    """Cancel the tasks until they have ended: before Python 3.12, asyncio.wait_for may swallow a
    cancellation.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=0.1)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # retrieve it, so that asyncio does not log it as never retrieved


def _offset(entry_id: bytes) -> int:
    return int(entry_id.split(b"-")[0])


def connect(broker_url: str, on_connect: Callable[[Any], Awaitable[None]] | None = None) -> "Redis":
    """A client that answers at once or fails; retries and timeouts are decided by the caller."""
    url = broker_url.replace("redis+socket://", "unix://", 1)
    return Redis.from_url(
        url,
        # longer than BLOCK_MS: redis-py's default of 5 s would end every blocked read with an error
        socket_timeout=BLOCK_MS / 1000 + 10,
        socket_connect_timeout=3,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        redis_connect_func=on_connect,
    )

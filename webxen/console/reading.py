"""Read one host's console streams for all sockets of this process.

There is one `Reader` task per host. A host's data affects only its own consoles: its reader skips invalid
entries, limits the rate, and restarts after errors.
"""

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError, ResponseError

from webxen.console.bounded import TooMuch

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from webxen.console.relay import Hub, Tail

log = logging.getLogger(__name__)

BLOCK_MS = 20_000
RETRY_SECONDS = 1.0
#: skipped data is recorded for staff at most this often
NOTE_SECONDS = 60.0
#: streams per read, and entries of each: at most 4 MiB of what console services write
MOST_STREAMS, READ_ENTRIES = 128, 16
MOST_READ_ENTRIES = 128
#: with more streams than that, each group is waited for only this long
WINDOW_MS = 200
#: limit per host; a guest in an endless loop of output writes some 20 MB/s
BYTES_A_SECOND, ENTRIES_A_SECOND = 16 << 20, 4000
#: counted per entry in addition to its bytes
ENTRY_BYTES = 256
BROKER_AWAY = ("detached", "the portal's message broker is away")
UNREADABLE = ("detached", "what the host's console service writes cannot be read")
#: id of the last entry of each stream, without its content
LAST_IDS = """
local ids = {}
for i, key in ipairs(KEYS) do
  local ok, last = pcall(redis.call, 'XREVRANGE', key, '+', '-', 'COUNT', 1)
  ids[i] = ok and type(last) == 'table' and last[1] and last[1][1] or ''
end
return ids
"""


class Allowance:
    """A rate limit per second."""

    def __init__(self, a_second: float) -> None:
        self._a_second = a_second
        self._left, self._counted_at = a_second, time.monotonic()

    def take(self, amount: float) -> float:
        """Count `amount` (bytes or entries); return the seconds to wait before the next use."""
        now = time.monotonic()
        self._left = min(self._a_second, self._left + (now - self._counted_at) * self._a_second)
        self._counted_at = now
        self._left -= amount
        return max(0.0, -self._left / self._a_second)


class Reader:
    """Reads the streams of one host's consoles."""

    def __init__(self, hub: "Hub", blocking: "Redis", host: str) -> None:
        self.host = host
        self._hub, self._blocking = hub, blocking
        self._last_ids = blocking.register_script(LAST_IDS)
        self._bytes, self._entries = Allowance(BYTES_A_SECOND), Allowance(ENTRIES_A_SECOND)
        self._window = 0
        self._quiet_until = float("-inf")
        self._changed = asyncio.Event()
        self.task = asyncio.create_task(self._run(), name=f"consoles of {host}")

    def change(self) -> None:
        """Restart reading, because the set of watched consoles has changed."""
        self._changed.set()

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            reading = asyncio.create_task(self._read_on())
            changed = asyncio.create_task(self._changed.wait())
            try:
                await asyncio.wait({reading, changed}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                # cancelling a blocked read drops its connection
                await end_tasks(reading, changed)
            if not reading.cancelled() and reading.exception() is not None:
                log.error("reading the consoles of %s began anew", self.host, exc_info=reading.exception())
                await asyncio.sleep(RETRY_SECONDS)

    async def _read_on(self) -> None:
        while tails := self._hub.tails_of(self.host):
            try:
                await self._read_once(tails)
            except TooMuch:
                log.warning(
                    "the console streams of %s hold what no console service writes: skipped", self.host
                )
                await self._skip(tails)
                await self._note_flood()
            except ResponseError as error:
                # its keys are no streams, or Redis does not accept commands at present
                is_its_own = str(error).startswith("WRONGTYPE")
                await self._wait_with(UNREADABLE if is_its_own else BROKER_AWAY, error)
            except (RedisError, OSError) as error:
                await self._wait_with(BROKER_AWAY, error)
        await asyncio.Event().wait()  # until consoles are watched again, which cancels this task

    async def _read_once(self, tails: "dict[str, Tail]") -> None:
        keys = sorted(tails)
        if len(keys) > MOST_STREAMS:
            self._window = (self._window + MOST_STREAMS) % len(keys)
            keys = [*keys, *keys][self._window : self._window + MOST_STREAMS]
        block = BLOCK_MS if len(keys) == len(tails) else WINDOW_MS
        count = min(READ_ENTRIES, max(1, MOST_READ_ENTRIES // len(keys)))
        places: Any = {key: tails[key].last_id for key in keys}
        news: Any = await self._blocking.xread(places, count=count, block=block)
        size = amount = 0
        for key, entries in news or ():
            tail = tails[key.decode()]
            if tail.out_key != key.decode():
                continue  # migrated meanwhile; the new host counts its bytes differently
            for entry_id, fields in entries:
                tail.take_in(entry_id, fields)
                amount += 1
                size += ENTRY_BYTES + sum(map(len, fields.values()))
            tail.ring()
            await asyncio.sleep(0)
        wait = max(self._bytes.take(size), self._entries.take(amount), self._hub.allowance.take(size))
        await asyncio.sleep(wait)

    async def _skip(self, tails: "dict[str, Tail]") -> None:
        """Continue after the last entries; what is skipped becomes a gap."""
        keys = sorted(tails)
        with contextlib.suppress(RedisError, OSError):
            for key, last in zip(keys, await self._last_ids(keys), strict=True):
                if last:
                    tails[key].go_on_behind(last)
        await asyncio.sleep(RETRY_SECONDS)

    async def _note_flood(self) -> None:
        """Record the flood, at most once per NOTE_SECONDS: skipping repeats every second."""
        now = time.monotonic()
        if self._hub.note_flood is not None and now >= self._quiet_until:
            self._quiet_until = now + NOTE_SECONDS
            await self._hub.note_flood(self.host)

    async def _wait_with(self, state: tuple[str, str], error: Exception) -> None:
        log.info("console streams of %s cannot be read: %s", self.host, error)
        for tail in self._hub.tails_of(self.host).values():
            tail.tell(state)
        await asyncio.sleep(RETRY_SECONDS)
        await self._hub.look_once()


async def end_tasks(*tasks: "asyncio.Task[Any]") -> None:
    """Cancel tasks until they have ended: before Python 3.12, asyncio.wait_for may swallow a cancellation."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=0.1)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # retrieved, so that asyncio does not log it as never retrieved

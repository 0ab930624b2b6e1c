"""One console, several hosts: how the bytes of a machine that has moved count on.

Each host counts a machine's bytes from its own beginning. Those who look count on: the new host's stream
begins where the old one ended. By how much its numbers are shifted is kept in Redis, so that every process
and every later visitor counts alike. Streams themselves are read by `relay`.
"""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from redis.exceptions import ResponseError

from webxen.console.bounded import TooMuch
from webxen.console.entries import end_in, offset_of
from webxen.console.reading import LAST_IDS
from worker.contract import console_out_key, console_state_key

KEEP_SECONDS = 30 * 24 * 3600
#: a host that still says that it holds the console is waited for so long: its last bytes may be on the way
LAST_BYTES_SECONDS = 10.0
LOOK_SECONDS = 0.2
#: entries looked through for the one that says when the present domain came
MOST_ENTRIES, STEP = 400, 40


class Place(NamedTuple):
    """A host's stream, from `begin` on (its own count), shifted by so much for those who look."""

    host: str
    begin: int
    shift: int

    @property
    def start(self) -> int:
        """Its first byte, as those who look count."""
        return self.begin + self.shift


class History(NamedTuple):
    place: Place
    #: up to which offset which stream holds the bytes
    before: list[tuple[int, Place]]
    #: no later stay than this is known
    is_last: bool


def _key(machine_id: str) -> str:
    return f"webxen.console.{machine_id}.places"


async def history(redis: Any, host: str, machine_id: str) -> History:
    """How this host's stream counts now, and which streams come before it, as far as that is known."""
    kept: Any = await redis.hgetall(_key(machine_id))
    stays = sorted((_stay(name, shift) for name, shift in kept.items()), key=lambda stay: stay.start)
    here = [at for at, stay in enumerate(stays) if stay.host == host]
    if not here:
        return History(Place(host, 0, 0), [], is_last=not stays)
    before = [(later.start, earlier) for earlier, later in itertools.pairwise(stays[: here[-1] + 1])]
    return History(stays[here[-1]], before, is_last=here[-1] == len(stays) - 1)


async def arrive(redis: Any, host: str, machine_id: str, *, old: Place) -> Place:
    """The machine is on another host now: its stream there counts on from the old one's end.

    The first word counts, for all who look.
    """
    end = await _end(redis, old, machine_id)
    begin = await _beginning(redis, console_out_key(host, machine_id))
    key = _key(machine_id)
    await redis.hsetnx(key, f"{old.host}:{old.begin}", old.shift)
    await redis.hsetnx(key, f"{host}:{begin}", end - begin)
    await redis.expire(key, KEEP_SECONDS)
    return Place(host, begin, int(await redis.hget(key, f"{host}:{begin}")))


def _stay(name: bytes, shift: bytes) -> Place:
    host, _, begin = name.decode().rpartition(":")
    return Place(host, int(begin), int(shift))


async def _end(redis: Any, old: Place, machine_id: str) -> int:
    """Behind the last byte of the old stream. That the console is gone is what a host says last of all."""
    until = time.monotonic() + LAST_BYTES_SECONDS
    while time.monotonic() < until:
        try:
            state = await redis.hget(console_state_key(old.host, machine_id), "state")
        except ResponseError:  # its host has made something else of it
            break
        if state != b"attached":
            break
        await asyncio.sleep(LOOK_SECONDS)
    return end_in(await last_id(redis, console_out_key(old.host, machine_id))) + old.shift


async def last_id(redis: Any, out_key: str) -> bytes:
    """Id of the last entry of a stream, without what is in it; b"" where there is none, or no stream."""
    (found,) = await redis.eval(LAST_IDS, 1, out_key)
    return bytes(found)


async def _beginning(redis: Any, out_key: str) -> int:
    """Where the present domain's bytes begin: at the first word "attached" since the last "detached"."""
    begin = None
    async for entry_id, fields in _backwards(redis, out_key):
        word = fields.get(b"s")
        if word == b"detached":
            break
        offset = offset_of(fields)
        if word == b"attached" or begin is None or offset is not None:
            begin = end_in(entry_id) if offset is None else offset
    return begin or 0


async def _backwards(redis: Any, out_key: str) -> AsyncIterator[tuple[bytes, dict[bytes, bytes]]]:
    """The last entries, the newest first, up to one that no console service would write."""
    before = "+"
    for _ in range(0, MOST_ENTRIES, STEP):
        try:
            entries: Any = await redis.xrevrange(out_key, max=before, count=STEP)
        except (ResponseError, TooMuch):
            return
        for entry in entries:
            yield entry
        if len(entries) < STEP:
            return
        before = f"({entries[-1][0].decode()}"

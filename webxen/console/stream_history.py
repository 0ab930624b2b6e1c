"""Continuous offsets of a console whose machine is migrated between hosts.

Each host counts a machine's bytes from its own start. For clients the count continues: the new host's stream
begins where the old one ended. The shift is stored in Redis, so that every process and every later client
counts alike. `relay` reads the streams.
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
#: how long a host that still holds the console is waited for: its last bytes may be in transit
LAST_BYTES_SECONDS = 10.0
LOOK_SECONDS = 0.2
#: entries searched for the start of the present domain
MOST_ENTRIES, STEP = 400, 40


class Place(NamedTuple):
    """A host's stream from `begin` on (the host's count), with the shift for clients."""

    host: str
    begin: int
    shift: int

    @property
    def start(self) -> int:
        """Offset of its first byte, as counted for clients."""
        return self.begin + self.shift


class History(NamedTuple):
    place: Place
    #: (end offset, stream) for the bytes before
    before: list[tuple[int, Place]]
    #: no later host is known
    is_last: bool


def _key(machine_id: str) -> str:
    return f"webxen.console.{machine_id}.places"


async def history(redis: Any, host: str, machine_id: str) -> History:
    """Return this host's stream with its shift, and the streams before it, as far as known."""
    kept: Any = await redis.hgetall(_key(machine_id))
    stays = sorted((_stay(name, shift) for name, shift in kept.items()), key=lambda stay: stay.start)
    here = [at for at, stay in enumerate(stays) if stay.host == host]
    if not here:
        return History(Place(host, 0, 0), [], is_last=not stays)
    before = [(later.start, earlier) for earlier, later in itertools.pairwise(stays[: here[-1] + 1])]
    return History(stays[here[-1]], before, is_last=here[-1] == len(stays) - 1)


async def arrive(redis: Any, host: str, machine_id: str, *, old: Place) -> Place:
    """Continue the count on the machine's new host, from the end of the old host's stream.

    The first caller's values are used by all.
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
    """Return the offset after the last byte of the old stream; "detached" is the last thing a host writes."""
    until = time.monotonic() + LAST_BYTES_SECONDS
    while time.monotonic() < until:
        try:
            state = await redis.hget(console_state_key(old.host, machine_id), "state")
        except ResponseError:  # the host has replaced it by another type of key
            break
        if state != b"attached":
            break
        await asyncio.sleep(LOOK_SECONDS)
    return end_in(await last_id(redis, console_out_key(old.host, machine_id))) + old.shift


async def last_id(redis: Any, out_key: str) -> bytes:
    """Return the id of a stream's last entry, without reading its content; b"" if there is none."""
    (found,) = await redis.eval(LAST_IDS, 1, out_key)
    return bytes(found)


async def _beginning(redis: Any, out_key: str) -> int:
    """Return the start of the present domain's bytes: the first "attached" after the last "detached"."""
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
    """Yield the last entries, newest first, up to one that no console service would write."""
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

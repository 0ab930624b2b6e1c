"""One console, several hosts: how the bytes of a machine that has moved count on.

Each host counts a machine's bytes from its own beginning. Those who look count on: the new host's stream
begins where the old one ended. By how much its numbers are shifted is kept in Redis, so that every process
and every later visitor counts alike. Streams themselves are read by `relay`.
"""

from typing import Any, NamedTuple

from worker.contract import console_out_key

KEEP_SECONDS = 30 * 24 * 3600
#: entries looked through for the one that says when the present domain came
MOST_ENTRIES = 400


class Place(NamedTuple):
    """A host's stream, from `begin` on (its own count), shifted by so much for those who look."""

    host: str
    begin: int
    shift: int


def _key(machine_id: str) -> str:
    return f"webxen.console.{machine_id}.places"


async def latest(redis: Any, host: str, machine_id: str) -> Place:
    """How this host's stream counts now: as it is, for a machine that never moved."""
    kept: Any = await redis.hgetall(_key(machine_id))
    begins = [int(name.split(b":")[1]) for name in kept if name.split(b":")[0] == host.encode()]
    if not begins:
        return Place(host, 0, 0)
    begin = max(begins)
    return Place(host, begin, int(kept[f"{host}:{begin}".encode()]))


async def arrive(redis: Any, host: str, machine_id: str, *, end: int) -> Place:
    """The machine is on another host now: its stream there counts on from `end`. The first word counts."""
    begin = await _beginning(redis, console_out_key(host, machine_id))
    key = _key(machine_id)
    await redis.hsetnx(key, f"{host}:{begin}", end - begin)
    await redis.expire(key, KEEP_SECONDS)
    return Place(host, begin, int(await redis.hget(key, f"{host}:{begin}")))


async def _beginning(redis: Any, out_key: str) -> int:
    """Where the present domain's bytes begin: at the first word "attached" since the last "detached"."""
    entries: Any = await redis.xrevrange(out_key, count=MOST_ENTRIES)
    begin = None
    for entry_id, fields in entries:
        word = fields.get(b"s")
        if word == b"detached":
            break
        if word == b"attached" or begin is None or b"o" in fields:
            begin = int(fields[b"o"]) if b"o" in fields else int(entry_id.split(b"-")[0])
    return begin or 0

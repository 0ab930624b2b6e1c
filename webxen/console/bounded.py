"""Redis connections that limit the size of an answer.

Hosts write their console streams themselves, and XREAD cannot limit the size of an entry. An answer is
therefore aborted, with its connection, as soon as it announces more than MOST_ANSWER_BYTES.
"""

from typing import Any

from redis._parsers import _AsyncRESP2Parser
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

#: 256 entries of a console service, which are at most 32 KiB each
MOST_ANSWER_BYTES = 8 << 20
#: overhead per item of an answer
ITEM_BYTES = 64


class TooMuch(RedisError):
    """An answer exceeded the limit; none of it was kept."""


class BoundedParser(_AsyncRESP2Parser):
    """redis-py's RESP2 parser with a limit on the size of an answer."""

    _left = MOST_ANSWER_BYTES

    async def read_response(self, *options: Any, **more: Any) -> Any:
        self._left = MOST_ANSWER_BYTES
        return await super().read_response(*options, **more)

    async def _read(self, length: int) -> bytes:
        self._count(length)
        return await super()._read(length)

    async def _readline(self) -> bytes:
        self._count(ITEM_BYTES)
        return await super()._readline()

    def _count(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise TooMuch(f"an answer of Redis has more than {MOST_ANSWER_BYTES} bytes")


def connect(url: str, *, timeout_seconds: float = 30.0) -> "Redis":
    """Return a client without retries whose timeout is longer than the server's blocking read."""
    return Redis.from_url(
        url.replace("redis+socket://", "unix://", 1),
        socket_timeout=timeout_seconds,
        socket_connect_timeout=3,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        parser_class=BoundedParser,
    )

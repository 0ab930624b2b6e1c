"""Django cache backend shared by all processes of the portal, stored in the broker's Redis.

While Redis is away each process uses its own memory, so limits still apply (per process) and pages still
answer. Values are stored as JSON, so that reading one can only produce plain values.
"""

import json
import logging
import time
from typing import Any, ClassVar

from django.core.cache import caches
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.redis import RedisCache
from redis.exceptions import RedisError

log = logging.getLogger(__name__)

#: pause before Redis is tried again after it did not answer
AWAY_SECONDS = 5.0


class JsonSerializer:
    """Serializes integers as they are, so that Redis can increment them; everything else as JSON."""

    def dumps(self, value: Any) -> Any:
        return value if type(value) is int else json.dumps(value)

    def loads(self, data: bytes) -> Any:
        return json.loads(data)


class SharedCache(RedisCache):
    """Django's Redis cache that falls back to a cache in this process while Redis does not answer."""

    _away_until: ClassVar[float] = 0.0

    def __init__(self, server: str, params: dict[str, Any]) -> None:
        super().__init__(server, params)
        self._own = LocMemCache("while Redis is away", {**params, "OPTIONS": {}})

    def add(self, *args: Any, **kwargs: Any) -> Any:
        return self._ask("add", *args, **kwargs)

    def get(self, *args: Any, **kwargs: Any) -> Any:
        return self._ask("get", *args, **kwargs)

    def set(self, *args: Any, **kwargs: Any) -> Any:
        return self._ask("set", *args, **kwargs)

    def touch(self, *args: Any, **kwargs: Any) -> Any:
        return self._ask("touch", *args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> Any:
        return self._ask("delete", *args, **kwargs)

    def has_key(self, *args: Any, **kwargs: Any) -> Any:
        return self._ask("has_key", *args, **kwargs)

    def incr(self, *args: Any, **kwargs: Any) -> Any:
        return self._ask("incr", *args, **kwargs)

    def get_many(self, *args: Any, **kwargs: Any) -> Any:
        return self._ask("get_many", *args, **kwargs)

    def set_many(self, *args: Any, **kwargs: Any) -> Any:
        return self._ask("set_many", *args, **kwargs)

    def delete_many(self, *args: Any, **kwargs: Any) -> Any:
        return self._ask("delete_many", *args, **kwargs)

    def _ask(self, verb: str, *args: Any, **kwargs: Any) -> Any:
        if time.monotonic() >= SharedCache._away_until:
            try:
                return getattr(super(), verb)(*args, **kwargs)
            except (RedisError, OSError) as error:
                SharedCache._away_until = time.monotonic() + AWAY_SECONDS
                log.warning("the shared cache does not answer, this process counts alone: %s", error)
        return getattr(self._own, verb)(*args, **kwargs)


def is_broker_away() -> bool:
    """Whether Redis, which is also the broker, did not answer within the last AWAY_SECONDS."""
    shared = caches["default"]
    if not isinstance(shared, SharedCache):
        return False
    shared.get("is-there")
    return time.monotonic() < SharedCache._away_until  # noqa: SLF001 - of this module

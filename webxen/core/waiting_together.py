"""Coalesce identical queries: concurrent requests for the same data share one result.

Clients that poll request few different lists. A result is shared with another request only if the query began
after that request arrived, so nobody receives data older than their request. Nothing is cached for a period,
so nothing has to be invalidated.
"""

import threading
import time
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

T = TypeVar("T")

#: META key in which OneThread records the arrival time; clients cannot set it, their headers are HTTP_*
ARRIVED = "webxen.arrived"
#: maximum number of results held at once
MOST_ANSWERS = 200


@dataclass(frozen=True)
class _Look(Generic[T]):
    began: float
    answer: "Future[T]" = field(default_factory=Future)


class WaitingTogether(Generic[T]):
    """Shared results by key. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._looks: dict[Hashable, _Look[T]] = {}

    def answer(self, key: Hashable, look: Callable[[], T], *, arrived: float) -> T:
        """Return the result of `look`, or the result of another call that began after `arrived` (monotonic
        clock).

        `key` must include everything the result depends on. Raises what `look` raises.
        """
        with self._lock:
            known = self._looks.get(key)
            if known is None or known.began < arrived:
                known, is_mine = self._begin(key), True
            else:
                is_mine = False
        if is_mine:
            try:
                known.answer.set_result(look())
            except BaseException as error:
                known.answer.set_exception(error)
                raise
        return known.answer.result()

    def _begin(self, key: Hashable) -> _Look[T]:
        self._looks.pop(key, None)
        while len(self._looks) >= MOST_ANSWERS:
            del self._looks[next(iter(self._looks))]  # the newest are last
        begun = self._looks[key] = _Look[T](time.monotonic())
        return begun


def arrival_of(meta: Mapping[str, Any]) -> float:
    """Return a request's arrival time from META; now if it was not recorded, so that nothing is shared."""
    found = meta.get(ARRIVED)
    return found if isinstance(found, float) else time.monotonic()

"""One answer for all who were waiting for the same: looked up once, and as fresh as each of them may ask.

A thousand people who poll ask for few different lists. Where more is asked than can be answered, those who
wait share: an answer is given to another only if looking it up began after that one's question had come, so
nobody is told what was true before they asked. Nothing is kept for a time, and nothing must be forgotten.
"""

import threading
import time
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

T = TypeVar("T")

#: where OneThread writes down in META when a request came; headers are HTTP_* there, so nobody else can
ARRIVED = "webxen.arrived"
#: answers held at the same time
MOST_ANSWERS = 200


@dataclass(frozen=True)
class _Look(Generic[T]):
    began: float
    answer: "Future[T]" = field(default_factory=Future)


class WaitingTogether(Generic[T]):
    """Answers by what was asked. Threads share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._looks: dict[Hashable, _Look[T]] = {}

    def answer(self, key: Hashable, look: Callable[[], T], *, arrived: float) -> T:
        """What `look` says, or said for another since `arrived` (by the monotonic clock).

        Everything that the answer depends on is in `key`. Raises what `look` raises.
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
            del self._looks[next(iter(self._looks))]  # the newest stand last
        begun = self._looks[key] = _Look[T](time.monotonic())
        return begun


def arrival_of(meta: Mapping[str, Any]) -> float:
    """When a request came, of its META; now, where nobody wrote it down: then it waits with nobody."""
    found = meta.get(ARRIVED)
    return found if isinstance(found, float) else time.monotonic()

"""Quiet periods on a small host: while a guest boots or migrates, background work is postponed.

Standard library only.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

#: a guest that was resumed, or shows its login prompt, still connects devices and starts services
LINGER_SECONDS = 3.0
#: maximum age of a cached value
KEEP_SECONDS = 60.0

T = TypeVar("T")


class QuietPeriod:
    """On while a caller holds it, and for `linger_seconds` after."""

    def __init__(self, *, linger_seconds: float = LINGER_SECONDS) -> None:
        self._lock, self._holders = threading.Lock(), 0
        self._linger_seconds, self._until = linger_seconds, 0.0
        #: when it was last taken, on the monotonic clock
        self.began = 0.0

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Hold a quiet period for the duration of the block."""
        with self._lock:
            self._holders += 1
            self.began = time.monotonic()
        try:
            yield
        finally:
            with self._lock:
                self._holders -= 1
                self._until = time.monotonic() + self._linger_seconds

    @property
    def is_on(self) -> bool:
        """Whether a quiet period is on."""
        return self._holders > 0 or time.monotonic() < self._until


class CachedWhileQuiet(Generic[T]):
    """Caches the result of a slow read for a quiet period. Errors are not cached.

    A value read before the period began is not used, so what a job made before its guest boots is always
    seen.
    """

    def __init__(self, read: Callable[[], T], quiet: QuietPeriod) -> None:
        self._read, self._quiet = read, quiet
        self._known: tuple[float, T] | None = None

    def __call__(self) -> T:
        known = self._known
        if known is not None and self._quiet.is_on and known[0] >= self._oldest():
            return known[1]
        self._known = None
        read_at = time.monotonic()
        value = self._read()
        self._known = (read_at, value)
        return value

    def _oldest(self) -> float:
        return max(self._quiet.began, time.monotonic() - KEEP_SECONDS)

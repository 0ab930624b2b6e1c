"""A counter that only grows on this host, across restarts of the worker and of the host.

It numbers observations, so that the portal can tell a new one from a replayed one.
"""

import time
from pathlib import Path

from worker.files import write_durably

#: numbers reserved at a time: the file is written and synced once for all of them
BLOCK = 1000


class Counter:
    """Returns each number once. Numbers between two starts may be skipped."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # The clock is only a lower bound, for a host whose state directory was lost. With the file present, a
        # clock that was set back has no effect. Numbers are not taken faster than one per millisecond.
        self._next = max(_read(path), int(time.time() * 1000))
        self._reserved = self._next

    def take(self) -> int:
        """The next number, durable before it is returned. Raises OSError."""
        if self._next >= self._reserved:
            write_durably(self._path, str(self._next + BLOCK).encode())
            self._reserved = self._next + BLOCK
        taken = self._next
        self._next += 1
        return taken


def _read(path: Path) -> int:
    try:
        return int(path.read_text())
    except (FileNotFoundError, ValueError):
        return 0

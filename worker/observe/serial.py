"""A number that only ever grows on this host, over restarts of the worker and of the host.

Lives here: the counter that tells a new observation from an old one sent again. What it numbers is
decided by the caller.
"""

import time
from pathlib import Path

from worker.files import write_durably

#: so many are taken at once: the file is written, and synced, once for them all
BLOCK = 1000


class Counter:
    """Gives each number once. Numbers between two starts may be left out."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # The clock is only a floor, for a host whose state directory was lost: with the file there, a clock
        # that was set back changes nothing. Nobody counts up faster than it runs.
        self._next = max(_read(path), int(time.time() * 1000))
        self._reserved = self._next

    def take(self) -> int:
        """The next number; on disk before it is given. Raises OSError."""
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

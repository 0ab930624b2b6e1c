"""Room on the journal's disk that is kept for the worst day: for ends, cancels and deletes when it is full.

Lives here: one file that takes up the room, made when there is plenty and shortened when there is none. Who
may have of it is decided in `journal`.
"""

import contextlib
import errno
import logging
import os
from collections.abc import Callable
from pathlib import Path

logger = logging.getLogger(__name__)

MIB = 1 << 20
RESERVE_BYTES = 64 * MIB
#: given at a time: others are waiting for room on the same disk, and would have all of it
STEP_BYTES = MIB
FULL = (errno.ENOSPC, errno.EDQUOT)


class Reserve:
    """The file, in the journal's directory: it must lie on the same file system."""

    def __init__(self, directory: Path, *, size_bytes: int = RESERVE_BYTES) -> None:
        self._path = directory / ".reserve"
        self._size_bytes = size_bytes

    @property
    def bytes_left(self) -> int:
        """How much there is; 0 where it was never made."""
        with contextlib.suppress(OSError):
            return self._path.lstat().st_size
        return 0

    def keep(self) -> None:
        """Make it whole again where that leaves as much free room again."""
        missing = self._size_bytes - self.bytes_left
        if missing <= 0:
            return
        try:
            room = os.statvfs(self._path.parent)
            if room.f_bavail * room.f_frsize < missing + self._size_bytes:
                return
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "r+b") as file:
                os.posix_fallocate(file.fileno(), 0, self._size_bytes)
        except OSError as error:
            logger.warning("no room can be kept for the journal: %s", error)

    def write(self, act: Callable[[], None]) -> None:
        """Do this, which writes; where the disk is full, with room of the reserve. Raises OSError."""
        while True:
            try:
                act()
            except OSError as error:
                if error.errno not in FULL or not self._give():
                    raise
            else:
                return

    def _give(self) -> bool:
        """Free some room; False when there is none left to free."""
        left = self.bytes_left
        try:
            if left <= STEP_BYTES:
                self._path.unlink()  # the file itself was worth an inode
            else:
                os.truncate(self._path, left - STEP_BYTES)
        except OSError:
            return False
        logger.warning(
            "the journal's disk is full: %d MiB are left of what is kept for ends and deletes", left // MIB
        )
        return True

"""A file that reserves disk space for the journal, so that ends, cancels and deletes can be written on a full
disk.

Who may use the reserve is decided in `worker.job.journal`.
"""

import contextlib
import errno
import logging
import os
from collections.abc import Callable
from pathlib import Path

from worker.contract import MIB

logger = logging.getLogger(__name__)

RESERVE_BYTES = 64 * MIB
#: freed at a time, because other processes that wait for space would take all of it
STEP_BYTES = MIB
FULL = (errno.ENOSPC, errno.EDQUOT)


class Reserve:
    """The reserve file. It is in the journal's directory, so that it is on the same file system."""

    def __init__(self, directory: Path, *, size_bytes: int = RESERVE_BYTES) -> None:
        self._path = directory / ".reserve"
        self._size_bytes = size_bytes

    @property
    def bytes_left(self) -> int:
        """Size of the reserve in bytes; 0 if it was never made."""
        with contextlib.suppress(OSError):
            return self._path.lstat().st_size
        return 0

    def keep(self) -> None:
        """Restore the reserve to its full size if at least as much space stays free."""
        missing = self._size_bytes - self.bytes_left
        if missing <= 0:
            return
        try:
            if self._read_free_bytes() < missing + self._size_bytes:
                return
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "r+b") as file:
                os.posix_fallocate(file.fileno(), 0, self._size_bytes)
        except OSError as error:
            logger.warning("no room can be kept for the journal: %s", error)

    def check_room(self) -> None:
        """Refuse an order that may not use the reserve while what is free was freed from it.

        Without this check new jobs would fill what a freed part leaves, and the next end would free another.
        Raises OSError.
        """
        left = self.bytes_left
        if left and self._read_free_bytes() < self._size_bytes - left:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _read_free_bytes(self) -> int:
        room = os.statvfs(self._path.parent)
        return room.f_bavail * room.f_frsize

    def write(self, act: Callable[[], None]) -> None:
        """Call `act`, which writes; when the disk is full, free parts of the reserve and retry.

        Raises OSError.
        """
        while True:
            try:
                act()
            except OSError as error:
                if error.errno not in FULL or not self._give():
                    raise
            else:
                return

    def _give(self) -> bool:
        """Free a part of the reserve. Returns False when nothing is left."""
        left = self.bytes_left
        try:
            if left <= STEP_BYTES:
                self._path.unlink()  # removing the file also frees its inode
            else:
                os.truncate(self._path, left - STEP_BYTES)
        except OSError:
            return False
        logger.warning(
            "the journal's disk is full: %d MiB are left of what is kept for ends and deletes", left // MIB
        )
        return True

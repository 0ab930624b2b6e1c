"""Copies a template to a disk: by sharing blocks where the file system supports it, otherwise sparsely."""

import errno
import fcntl
import os
from collections.abc import Callable, Iterator

from worker.files import write_all

#: linux/fs.h: FICLONE
FICLONE = 0x40049409
BLOCK_BYTES = 256 * 1024
ZEROS = bytes(BLOCK_BYTES)


def copy_sparse(source: int, target: int, *, on_progress: Callable[[float], None]) -> None:
    """Copy all of `source` to an empty or zeroed `target`. Holes and zeros are not written.

    `on_progress` receives values from 0.0 to 1.0. Raises OSError, e.g. ENOSPC.
    """
    size = os.fstat(source).st_size
    if _clone(source, target):
        on_progress(1.0)
        return
    extents = list(data_extents(source, size))
    total = sum(end - start for start, end in extents) or 1
    done = 0
    for start, end in extents:
        offset = start
        while offset < end:
            block = os.pread(source, min(BLOCK_BYTES, end - offset), offset)
            if not block:
                raise OSError(errno.EIO, "the template became shorter while it was read")
            if block != ZEROS[: len(block)]:
                write_all(target, block, offset)
            offset += len(block)
            done += len(block)
            on_progress(done / total)


def _clone(source: int, target: int) -> bool:
    try:
        fcntl.ioctl(target, FICLONE, source)
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS):
            return False
        raise
    return True


def data_extents(source: int, size: int) -> Iterator[tuple[int, int]]:
    """Start and end of each extent that holds data. A block device has no holes, so all of it is data."""
    offset = 0
    while offset < size:
        try:
            start = os.lseek(source, offset, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # only a hole is left
                return
            if error.errno != errno.EINVAL:
                raise
            yield offset, size
            return
        offset = os.lseek(source, start, os.SEEK_HOLE)
        yield start, offset

"""The disks of a machine that is off, read here and written there: holes skipped, digests compared.

Lives here: opening, reading, writing and digesting one disk. The stream's layout is `disk_stream`; which
disks, and what may be removed when, is `cold_move`.
"""

import contextlib
import fcntl
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from worker import points
from worker.disk_stream import BLOCK, DATA, RECORD, SUM, Reader
from worker.errors import CopyDiffers
from worker.read_along import BadStream
from worker.storage.copying import data_extents, write_all

#: linux/fs.h: BLKFLSBUF
BLKFLSBUF = 0x1261
ZEROS = bytes(BLOCK)

Write = Callable[[bytes], None]
Tick = Callable[[int], None]


@contextlib.contextmanager
def opened(path: Path, flags: int = os.O_RDONLY) -> Iterator[int]:
    """The disk as it lies on the medium: the guest was served past this host's cache."""
    disk = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(disk)
        forget_cached(disk)
        yield disk
    finally:
        os.close(disk)


def forget_cached(disk: int) -> None:
    """Read anew what is read next."""
    if stat.S_ISBLK(os.fstat(disk).st_mode):
        fcntl.ioctl(disk, BLKFLSBUF)
    else:
        os.posix_fadvise(disk, 0, 0, os.POSIX_FADV_DONTNEED)


def size_of(disk: int) -> int:
    return os.lseek(disk, 0, os.SEEK_END)


def data_bytes(disk: int) -> int:
    return sum(end - start for start, end in data_extents(disk, size_of(disk)))


def send(disk: int, write: Write, *, on_bytes: Tick) -> None:
    """Everything on the disk that is not zero, then the digest of all of it."""

    def send_block(place: int, block: bytes) -> None:
        if block != ZEROS[: len(block)]:
            write(RECORD.pack(DATA, len(block), place) + block)
            points.reach("a block is sent")
        on_bytes(len(block))

    digest = _go_over(disk, size_of(disk), send_block)
    write(RECORD.pack(SUM, len(digest), 0) + digest)


def receive(reader: Reader, disk: int, *, size: int, on_bytes: Tick) -> None:
    """Write what comes onto a disk of zeros, and read all of it back. Raises CopyDiffers, BadStream."""
    while True:
        kind, place, content = reader.record()
        if kind == SUM:
            break
        if kind != DATA or place + len(content) > size:
            raise BadStream("it reaches beyond the end of the disk")
        write_all(disk, content, place)
        points.reach("a block is written")
        on_bytes(len(content))
    os.fsync(disk)
    forget_cached(disk)
    if _go_over(disk, size, lambda _place, _block: on_bytes(0)) != content:
        raise CopyDiffers(
            "What was written here and read back is not what the other host has read, so the copy is thrown"
            " away. Try again; if it happens again, a disk, memory or network is failing."
        )
    points.reach("a disk is compared")


def _go_over(disk: int, size: int, on_block: Callable[[int, bytes], None]) -> bytes:
    """The SHA-256 of so many bytes, holes read as the zeros they are."""
    digest, at = hashlib.sha256(), 0
    for start, end in data_extents(disk, size):
        _add_zeros(digest, min(start, size) - at)
        at = min(start, size)
        while at < min(end, size):
            block = os.pread(disk, min(BLOCK, min(end, size) - at), at)
            if not block:
                raise OSError("the disk became shorter while it was read")
            digest.update(block)
            on_block(at, block)
            at += len(block)
    _add_zeros(digest, size - at)
    return digest.digest()


def _add_zeros(digest: "hashlib._Hash", count: int) -> None:
    for _ in range(count // BLOCK):
        digest.update(ZEROS)
    digest.update(ZEROS[: count % BLOCK])

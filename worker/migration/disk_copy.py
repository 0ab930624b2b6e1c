"""Copies the disks of a machine between hosts: skips holes and compares digests.

Opens, reads, writes and digests one disk. While the machine runs, a disk is copied in several passes; the
pass that counts is the last, when the machine is off. The layout of the stream is in
`worker.relay.disk_stream`.
"""

import contextlib
import fcntl
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from worker import failpoints
from worker.errors import CopyDiffers
from worker.files import write_all
from worker.relay.disk_stream import BLOCK, DATA, RECORD, SUM, SUM_BYTES
from worker.relay.stream_parser import BadStream
from worker.storage.copying import data_extents

#: linux/fs.h: BLKFLSBUF
BLKFLSBUF = 0x1261
ZEROS = bytes(BLOCK)
DIGEST_BYTES = 16
NO_DIGEST = bytes(DIGEST_BYTES)

Write = Callable[[bytes], None]
Tick = Callable[[int], None]


@contextlib.contextmanager
def opened(path: Path, flags: int = os.O_RDONLY) -> Iterator[int]:
    """Open a disk so that reads come from the medium: the guest's writes bypass this host's cache."""
    disk = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(disk)
        forget_cached(disk)
        yield disk
    finally:
        os.close(disk)


def forget_cached(disk: int) -> None:
    """Drop cached content, so that the next read comes from the medium."""
    if stat.S_ISBLK(os.fstat(disk).st_mode):
        fcntl.ioctl(disk, BLKFLSBUF)
    else:
        os.posix_fadvise(disk, 0, 0, os.POSIX_FADV_DONTNEED)


def size_of(disk: int) -> int:
    """Size of an open disk in bytes. Raises OSError."""
    return os.lseek(disk, 0, os.SEEK_END)


def data_bytes(disk: int) -> int:
    """Bytes of an open disk that hold data, holes not counted. Raises OSError."""
    return sum(end - start for start, end in data_extents(disk, size_of(disk)))


class Source:
    """One disk to be sent, in one or several passes.

    It keeps a digest of each block that the other side has: 16 bytes per 256 KiB, i.e. 64 MiB per TiB.
    """

    def __init__(self, number: int, write: Write, on_bytes: Tick, *, size: int) -> None:
        self._number, self._write, self._on_bytes, self._size = number, write, on_bytes, size
        #: sixteen zero bytes: the block is zero on the other side
        self._sent = bytearray(-(-size // BLOCK) * DIGEST_BYTES)

    def go_over(self, disk: int) -> int:
        """Send what the other side does not have yet. Returns the number of bytes sent.

        The machine may run.
        """
        return self._send_news(disk, lambda _place, _block: None)

    def finish(self, disk: int) -> int:
        """A last pass while the machine is off, then the digest of the whole disk. Returns the bytes sent."""
        whole = Whole(self._size)
        count = self._send_news(disk, whole.add)
        self._write(RECORD.pack(SUM, self._number, SUM_BYTES, 0) + whole.digest())
        return count

    def _send_news(self, disk: int, on_block: Callable[[int, bytes], None]) -> int:
        count = at = 0
        for place, block in blocks(disk, self._size):
            count += self._send_holes(at, place)
            on_block(place, block)
            self._on_bytes(len(block))
            count += self._send_block(place, block)
            at = place + len(block)
        return count + self._send_holes(at, self._size)

    def _send_holes(self, start: int, end: int) -> int:
        """Send zeros for blocks that held data and are holes now. Returns the number of bytes sent."""
        if not any(self._sent[_slot(start).start : _slot(end + BLOCK - 1).start]):
            return 0
        places = range(start, end, BLOCK)
        return sum(self._send_block(place, ZEROS[: min(BLOCK, end - place)]) for place in places)

    def _send_block(self, place: int, block: bytes) -> int:
        is_zero = block == ZEROS[: len(block)]
        digest = NO_DIGEST if is_zero else hashlib.blake2b(block, digest_size=DIGEST_BYTES).digest()
        slot = _slot(place)
        if self._sent[slot] == digest:
            return 0
        self._sent[slot] = digest
        self._write(RECORD.pack(DATA, self._number, len(block), place) + block)
        failpoints.reach("a block is sent")
        return len(block)


def _slot(place: int) -> slice:
    start = place // BLOCK * DIGEST_BYTES
    return slice(start, start + DIGEST_BYTES)


class Target:
    """One disk being received: zero at first, written as data comes, read back and compared at the end."""

    def __init__(self, disk: int, *, size: int, on_bytes: Tick) -> None:
        self._disk, self._size, self._on_bytes = disk, size, on_bytes
        self.is_done = False

    def write(self, place: int, content: bytes) -> None:
        """Write content at an offset. Raises BadStream and OSError."""
        if self.is_done or place + len(content) > self._size:
            raise BadStream("it reaches beyond the end of the disk")
        write_all(self._disk, content, place)
        failpoints.reach("a block is written")
        self._on_bytes(len(content))

    def compare(self, digest: bytes) -> None:
        """Read the disk back and compare its SHA-256. Raises CopyDiffers and OSError."""
        self.is_done = True
        os.fsync(self._disk)
        forget_cached(self._disk)
        if self._read_back() != digest:
            raise CopyDiffers("COPY_NOT_EQUAL")
        failpoints.reach("a disk is compared")

    def _read_back(self) -> bytes:
        whole = Whole(self._size)
        for place, block in blocks(self._disk, self._size):
            whole.add(place, block)
            self._on_bytes(0)
        return whole.digest()


def blocks(disk: int, size: int) -> Iterator[tuple[int, bytes]]:
    """Offset and content of every block that has data. Offsets are multiples of the block size."""
    done = 0
    for start, end in data_extents(disk, size):
        at = max(start // BLOCK * BLOCK, done)
        while at < min(end, size):
            yield at, _block(disk, at, min(BLOCK, size - at))
            at += BLOCK
        done = max(done, at)


def _block(disk: int, at: int, size: int) -> bytes:
    held = os.pread(disk, size, at)
    while len(held) < size:
        more = os.pread(disk, size - len(held), at + len(held))
        if not more:
            raise OSError("the disk became shorter while it was read")
        held += more
    return held


class Whole:
    """The SHA-256 of a whole disk from its blocks in order. Holes count as zeros."""

    def __init__(self, size: int) -> None:
        self._size, self._at, self._digest = size, 0, hashlib.sha256()

    def add(self, place: int, block: bytes) -> None:
        """Add the next block. Blocks must be added in order."""
        self._add_zeros(place - self._at)
        self._digest.update(block)
        self._at = place + len(block)

    def digest(self) -> bytes:
        """The SHA-256 of the whole disk."""
        self._add_zeros(self._size - self._at)
        self._at = self._size
        return self._digest.digest()

    def _add_zeros(self, count: int) -> None:
        for _ in range(count // BLOCK):
            self._digest.update(ZEROS)
        self._digest.update(ZEROS[: count % BLOCK])

"""Runs of zeros are encoded as their length: a new guest's memory and a new disk consist mostly of zeros.

Defines the frames between two relays in the direction from the source to the target. Pure: bytes in, bytes
out. libxc sends every page of a guest, also empty ones (seen on Xen 4.20: 138 MiB for a new guest of 128 MiB,
half of them zeros), and encrypting and sending a byte costs far more than comparing it with zero.
"""

import struct
from collections.abc import Iterator

from worker.relay.stream_parser import BadStream

#: kind, length; a DATA frame is followed by that many bytes, a ZEROS frame by none
FRAME = struct.Struct(">BI")
DATA, ZEROS = 0, 1
#: longest run in one frame, so that the other host cannot make this one fill its memory
MOST = 1 << 20
#: zeros are searched for in blocks of one page
BLOCK = 4096
EMPTY = bytes(BLOCK)


def pack(data: bytes) -> bytes:
    """Encode these bytes as frames."""
    found = bytearray()
    size = len(data)
    begin = at = 0
    while at < size:
        if not data.startswith(EMPTY, at):
            at += BLOCK
            continue
        end = at + BLOCK
        while data.startswith(EMPTY, end):
            end += BLOCK
        _add(found, data, begin, at)
        for start in range(at, end, MOST):
            found += FRAME.pack(ZEROS, min(MOST, end - start))
        begin = at = end
    _add(found, data, begin, size)
    return bytes(found)


def _add(found: bytearray, data: bytes, begin: int, end: int) -> None:
    for start in range(begin, end, MOST):
        stop = min(start + MOST, end)
        found += FRAME.pack(DATA, stop - start)
        found += memoryview(data)[start:stop]


class Unpacker:
    """Decodes frames incrementally."""

    def __init__(self) -> None:
        self._head = b""
        #: bytes of the current DATA frame that are still to come
        self._due = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Decode frames. Yields pieces of at most `MOST` bytes. Raises BadStream."""
        at = 0
        while at < len(data):
            if self._due:
                piece = data[at : at + self._due]
                self._due -= len(piece)
                at += len(piece)
                yield piece
                continue
            missing = FRAME.size - len(self._head)
            self._head += data[at : at + missing]
            at += missing
            if len(self._head) == FRAME.size:
                kind, length = FRAME.unpack(self._head)
                self._head = b""
                if kind not in (DATA, ZEROS) or not 0 < length <= MOST:
                    raise BadStream("the other host's relay speaks in frames that are not known here")
                if kind == ZEROS:
                    yield bytes(length)
                else:
                    self._due = length

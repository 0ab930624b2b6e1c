"""The stream of disks in a cold migration: writing, reading and following it. Pure.

In the relay this stream takes the place of xl's. A header lists the disks and their sizes. Then come records:
DATA with the disk's number and the offset, SUM with a disk's digest when the disk is complete, and END. Bytes
that are not sent are zero. Bytes sent twice have the later value: a disk whose machine still runs is sent in
several passes.
"""

import json
import struct
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from worker.relay.stream_parser import BadStream, IncrementalParser

MAGIC = b"WebXen disks 2\n\0"
#: length of the JSON that follows
HEADER = struct.Struct(">I")
#: kind, number of the disk in the header, length of the content, offset on the disk
RECORD = struct.Struct(">BBxxIQ")
END, DATA, SUM = 0, 1, 2
BLOCK = 1 << 18
SUM_BYTES = 32
MAX_HEADER = 1 << 16
#: the machine's seed image is sent with its disks
SEED = "seed.iso"
MAX_SEED = 16 << 20


@dataclass(frozen=True)
class Item:
    """One disk, or the seed, in the header."""

    id: str
    bytes: int


@dataclass(frozen=True)
class Header:
    items: tuple[Item, ...]
    #: bytes of data, holes not counted; the progress is measured against it
    data_bytes: int


def write_header(header: Header) -> bytes:
    """The header as bytes."""
    items = [[item.id, item.bytes] for item in header.items]
    text = json.dumps({"items": items, "data_bytes": header.data_bytes}).encode()
    return MAGIC + HEADER.pack(len(text)) + text


def read_header(untrusted: bytes) -> Header:
    """Parse the JSON of a header. Raises BadStream."""
    try:
        values = json.loads(untrusted)
        items = tuple(Item(_text(name), _size(size)) for name, size in values["items"])
        return Header(items, _size(values["data_bytes"]))
    except (ValueError, KeyError, TypeError) as error:
        raise BadStream("the list of disks cannot be read") from error


def _text(untrusted: Any) -> str:
    if not isinstance(untrusted, str):
        raise TypeError("it is no text")
    return untrusted


def _size(untrusted: Any) -> int:
    if type(untrusted) is not int or untrusted < 0:
        raise TypeError("it is no size")
    return untrusted


def check_record(kind: int, length: int) -> None:
    """Raises BadStream for a kind or length that a WebXen sender does not write."""
    most = {END: 0, DATA: BLOCK, SUM: SUM_BYTES}.get(kind, -1)
    if length > most or (kind == SUM and length != SUM_BYTES) or (kind == DATA and not length):
        raise BadStream("a record of the disks cannot be understood")


class DiskStream(IncrementalParser):
    """Follows the stream in the relay: finds its end, and refuses anything else before it."""

    def _read(self) -> Generator[int, bytes, None]:
        length = read_preamble((yield len(MAGIC) + HEADER.size))
        yield length
        while True:
            kind, _, length, _ = RECORD.unpack((yield RECORD.size))
            check_record(kind, length)
            if kind == END:
                return
            self._skip = length


def read_preamble(untrusted: bytes) -> int:
    """The length of the header's JSON in bytes. Raises BadStream."""
    (length,) = HEADER.unpack(untrusted[len(MAGIC) :])
    if untrusted[: len(MAGIC)] != MAGIC or not 0 < length <= MAX_HEADER:
        raise BadStream("it does not begin as the disks of a machine do")
    return int(length)


class Reader:
    """Reads the stream. `read(n)` must return exactly n bytes."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read

    def header(self) -> Header:
        """The header of the stream. Raises BadStream."""
        length = read_preamble(self._read(len(MAGIC) + HEADER.size))
        return read_header(self._read(length))

    def record(self) -> tuple[int, int, int, bytes]:
        """Kind, number of the disk, offset in bytes, content. Raises BadStream."""
        kind, number, length, place = RECORD.unpack(self._read(RECORD.size))
        check_record(kind, length)
        return kind, number, place, self._read(length) if length else b""

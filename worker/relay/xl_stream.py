"""The protocol between two `xl` during a migration, parsed while it is forwarded. Pure: bytes in, facts out.

Contains xl's fixed messages (tools/xl/xl.h), the layout of its save file, and the layouts of the libxl and
libxc streams in it (Xen's docs/specs: libxl-migration-stream, libxc-migration-stream). Only what shows the
progress is unpacked. What may pass, and when, is decided in `worker.relay.gate`.
"""

import struct
from collections.abc import Generator
from dataclasses import dataclass
from typing import Literal

from worker.relay.stream_parser import BadStream, IncrementalParser

# --- xl's messages, in the order in which they are sent -----------------------------------------

#: target: ready to receive; the only message without a NUL at its end
BANNER = b"xl migration receiver ready, send binary domain data.\n"
#: target: the domain is complete and paused
READY = b"domain received, ready to unpause\0"
#: source: the target may run it, the source never will; after a failed report the target sends it back
GO = b"domain is yours, you are cleared to unpause\0"
#: target: followed by one byte, 0 when the guest runs
REPORT = b"my copy unpause results are as follows\0"

MAGIC = b"Xen saved domain, xl format\n \0 \r"
BYTE_ORDER = 0x01020304
#: magic, byte order, mandatory flags, optional flags, length of the configuration that follows
SAVE_HEADER = struct.Struct("<32sIIII")
#: the configuration is JSON | the stream has version 2
SAVE_FLAGS = 0b11
#: ident "LibxlFmt", version, options; big-endian by definition
LIBXL_HEADER = struct.Struct(">8sII")
LIBXL_IDENT, LIBXL_VERSION = b"LibxlFmt", 2
#: marker, ident "XENF", version, options, reserved
LIBXC_HEADER = struct.Struct(">8s4sIHHI")
LIBXC_MARKER, LIBXC_IDENT = b"\xff" * 8, b"XENF"
#: type, page shift, reserved, Xen major, Xen minor
DOMAIN_HEADER = struct.Struct("<IHHII")
DOMAIN_TYPES = {1: "PV", 2: "HVM"}
#: type, length; the body is padded to eight bytes
RECORD = struct.Struct("<II")
#: number of pages, reserved, frame number of the first page with its type in the top four bits
PAGES = struct.Struct("<IIQ")
PFN_MASK = (1 << 52) - 1
END = 0
LIBXC_CONTEXT = 1
PAGE_DATA = 1
#: Xen's own limit is 128 MiB; a longer record means that the stream was misread
MAX_RECORD = 128 << 20
#: a domain's configuration has some kilobytes
MAX_CONFIG = 16 << 20


class DomainStream(IncrementalParser):
    """Follows the stream from the source to the target and finds where the domain ends."""

    def __init__(self) -> None:
        self.pages = 0
        self._last_pfn = -1
        super().__init__()

    def _read(self) -> Generator[int, bytes, None]:
        magic, order, flags, _, length = SAVE_HEADER.unpack((yield SAVE_HEADER.size))
        if magic != MAGIC or order != BYTE_ORDER or flags != SAVE_FLAGS or length > MAX_CONFIG:
            raise BadStream("it does not begin with the header of a saved domain")
        self._skip = length
        ident, version, _ = LIBXL_HEADER.unpack((yield LIBXL_HEADER.size))
        if ident != LIBXL_IDENT or version != LIBXL_VERSION:
            raise BadStream("it is no libxl stream of version 2")
        while True:
            kind, length = RECORD.unpack((yield RECORD.size))
            if kind == END:
                return
            if kind == LIBXC_CONTEXT:
                yield from self._read_memory()
            else:
                self._pass_over(length)

    def _read_memory(self) -> Generator[int, bytes, None]:
        marker, ident, _, options, _, _ = LIBXC_HEADER.unpack((yield LIBXC_HEADER.size))
        if marker != LIBXC_MARKER or ident != LIBXC_IDENT or options & 1:
            raise BadStream("it is no libxc stream")
        kind, _, _, _, _ = DOMAIN_HEADER.unpack((yield DOMAIN_HEADER.size))
        self.kind = DOMAIN_TYPES.get(kind, "")
        while True:
            kind, length = RECORD.unpack((yield RECORD.size))
            if kind == END:
                return
            if kind == PAGE_DATA and length >= PAGES.size:
                count, _, first = PAGES.unpack((yield PAGES.size))
                self._count(count, first & PFN_MASK)
                self._pass_over(length, less=PAGES.size)
            else:
                self._pass_over(length)

    def _pass_over(self, length: int, *, less: int = 0) -> None:
        if length > MAX_RECORD:
            raise BadStream(f"a record of {length} bytes is longer than Xen writes any")
        self._skip = -(-length // 8) * 8 - less

    def _count(self, count: int, first: int) -> None:
        # libxc walks through the memory upwards, so a lower frame number begins another pass.
        if first <= self._last_pfn or not self.passes:
            self.passes += 1
        self._last_pfn = first
        self.pages += count


class Go:
    """The message GO after the domain. Nothing else may follow."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> bool:
        """Whether GO is complete. Raises BadStream for anything else, including bytes after GO."""
        self._held += data
        if not GO.startswith(self._held):
            raise BadStream("the domain is followed by something that is not GO")
        return self.is_whole

    @property
    def is_whole(self) -> bool:
        return self._held == GO


Word = Literal["BANNER", "READY", "REPORT", "GIVEN_BACK"]


@dataclass(frozen=True)
class Reply:
    """One complete message of the target."""

    word: Word
    text: bytes
    #: of a REPORT: the guest runs on the target
    is_good: bool = False


class Replies:
    """The messages from the target to the source, which come in a fixed order."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._said: list[Word] = []
        self._is_good = False

    def feed(self, data: bytes) -> list[Reply]:
        """The messages that are complete now. Raises BadStream."""
        self._held += data
        found = []
        while self._held and (reply := self._next()) is not None:
            found.append(reply)
        return found

    def _next(self) -> Reply | None:
        word, text, extra = self._due()
        held = bytes(self._held[: len(text)])
        if not text.startswith(held):
            raise BadStream(f"the target says something that is not {word}")
        whole = len(text) + extra
        if len(self._held) < whole:
            return None
        message = bytes(self._held[:whole])
        del self._held[:whole]
        self._said.append(word)
        if word == "REPORT":
            self._is_good = message[-1] == 0
        return Reply(word, message, is_good=word == "REPORT" and self._is_good)

    def _due(self) -> tuple[Word, bytes, int]:
        order: tuple[tuple[Word, bytes, int], ...] = (
            ("BANNER", BANNER, 0),
            ("READY", READY, 0),
            ("REPORT", REPORT, 1),
            ("GIVEN_BACK", GO, 0),
        )
        at = len(self._said)
        # A target whose domain did not become ready sends its report at once.
        if at == len(order) or (at == 3 and self._is_good):
            raise BadStream("the target says more than there is to say")
        return order[at]

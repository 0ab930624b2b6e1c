"""Incremental parsing of a stream while it is forwarded. Pure: bytes in, facts out.

Holds the buffer for heads that arrive in pieces. The formats are in `xl_stream` and `disk_stream`.
"""

from abc import ABC, abstractmethod
from collections.abc import Generator


class BadStream(Exception):
    """The bytes are not a stream of the expected format. The migration must not go on."""


class IncrementalParser(ABC):
    """Parses what the source sends to the target before GO, and finds where it ends."""

    #: type of the domain, "PV" or "HVM", once it is known
    kind = ""

    def __init__(self) -> None:
        #: the stream is complete; only GO may follow
        self.is_ended = False
        self.bytes = 0
        #: number of passes over the memory; 0 for disks
        self.passes = 0
        self._held = bytearray()
        self._skip = 0
        self._reading = self._read()
        self._wanted = next(self._reading)

    @abstractmethod
    def _read(self) -> Generator[int, bytes, None]:
        """Yield the size of the next head and receive its bytes.

        Set `_skip` to the bytes to skip after it.
        """

    def feed(self, data: bytes) -> int:
        """The number of these bytes that belong to the stream; fewer than all if it ends in them.

        Raises BadStream.
        """
        at, size = 0, len(data)
        while at < size and not self.is_ended:
            if self._skip:
                step = min(self._skip, size - at)
                self._skip -= step
                at += step
                continue
            step = min(self._wanted - len(self._held), size - at)
            self._held += data[at : at + step]
            at += step
            if len(self._held) == self._wanted:
                head = bytes(self._held)
                self._held.clear()
                self._advance(head)
        self.bytes += at
        return at

    @property
    def due(self) -> int:
        """Number of bytes that may be read next without reading beyond the end of the stream."""
        return self._skip or self._wanted - len(self._held)

    def _advance(self, head: bytes) -> None:
        try:
            self._wanted = self._reading.send(head)
        except StopIteration:
            self.is_ended = True

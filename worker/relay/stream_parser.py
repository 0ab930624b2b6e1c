"""Reading along in a stream that passes by, without holding it up. Pure: bytes in, facts out.

Lives here: the buffer for heads that arrive in pieces. Which heads there are, and what they tell, is in
`relay_stream` and `disk_stream`.
"""

from abc import ABC, abstractmethod
from collections.abc import Generator


class BadStream(Exception):
    """These bytes are no move as this relay knows it; nothing may be built on a guess."""


class IncrementalParser(ABC):
    """What goes from the source to the target before GO: says where it ends."""

    #: of a domain: PV or HVM, once that is known
    kind = ""

    def __init__(self) -> None:
        #: every byte of it has passed; what follows can only be GO
        self.is_ended = False
        self.bytes = 0
        #: how often the memory has been gone over; a disk is gone over once, which is no pass
        self.passes = 0
        self._held = bytearray()
        self._skip = 0
        self._reading = self._read()
        self._wanted = next(self._reading)

    @abstractmethod
    def _read(self) -> Generator[int, bytes, None]:
        """Ask for so many bytes of a head; what is to be passed over after it is put into `_skip`."""

    def feed(self, data: bytes) -> int:
        """How many of these bytes belong to it; fewer than all when it ends within them. Raises BadStream."""
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
        """So many bytes may be read next without reading beyond its end."""
        return self._skip or self._wanted - len(self._held)

    def _advance(self, head: bytes) -> None:
        try:
            self._wanted = self._reading.send(head)
        except StopIteration:
            self.is_ended = True

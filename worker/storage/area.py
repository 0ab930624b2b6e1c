"""The lease volume of a shared volume group: slots of 4096 bytes on a raw device.

Reads and writes slots with direct I/O. Layout: a header, one slot per host for the lock of the group, one
slot per machine. What the slots mean is decided in `lease` and `locks`.
"""

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from worker.errors import LeaseUnreadable, PoolMisconfigured
from worker.storage import lease
from worker.storage.lease import SLOT_BYTES, Lease

AREA_BYTES = 16 << 20
#: slot 0 is the header; slots 1 to 63 belong to the hosts
MAX_HOSTS = 63
FIRST_LEASE = MAX_HOSTS + 1
SLOTS = AREA_BYTES // SLOT_BYTES
KIND = "webxen-leases-1"
STRETCH_BYTES = 256 << 10
ZEROS = bytes(STRETCH_BYTES)


class Area:
    """One device (or file) of slots. Reads come from the medium; writes are durable when they return."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, first: int, count: int = 1) -> list[bytes]:
        """The records of these slots. Raises OSError."""
        with self._opened(os.O_RDONLY) as descriptor, mmap.mmap(-1, count * SLOT_BYTES) as buffer:
            done = os.preadv(descriptor, [buffer], first * SLOT_BYTES)
            data = buffer[:done]
        starts = range(0, len(data) - SLOT_BYTES + 1, SLOT_BYTES)
        return [data[start : start + lease.RECORD_BYTES] for start in starts]

    def write(self, index: int, record: bytes) -> None:
        """Write one slot durably. Raises OSError."""
        # Direct I/O needs memory aligned to pages, which anonymous memory is.
        with self._opened(os.O_RDWR | os.O_DSYNC) as descriptor, mmap.mmap(-1, SLOT_BYTES) as buffer:
            buffer[: len(record)] = record
            if os.pwritev(descriptor, [buffer], index * SLOT_BYTES) != SLOT_BYTES:
                raise OSError(f"{self.path} is shorter than its slots")

    @contextmanager
    def _opened(self, flags: int) -> Iterator[int]:
        descriptor = os.open(self.path, flags | os.O_DIRECT | os.O_CLOEXEC)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    # --- the header ----------------------------------------------------------------------------

    def format(self, pool_id: str) -> None:
        """Write the header of this pool to a new, zeroed device. Raises OSError."""
        self.write(0, lease.pack({"kind": KIND, "pool": pool_id}))

    def check(self, pool_id: str) -> None:
        """Raises PoolMisconfigured for a device that is not this pool's lease volume."""
        header = lease.unpack(self.read(0)[0])
        if header is None or header.get("kind") != KIND or header.get("pool") != pool_id:
            raise PoolMisconfigured("NOT_A_LEASE_AREA", path=self.path)

    # --- leases --------------------------------------------------------------------------------

    def leases(self) -> "Slots":
        """All lease slots, as they are on the medium now. Raises OSError."""
        known: dict[str, tuple[int, Lease]] = {}
        broken = set()
        for index, record in self._written(FIRST_LEASE, SLOTS - FIRST_LEASE):
            try:
                found = lease.from_bytes(record)
            except LeaseUnreadable:
                broken.add(index)
                continue
            if found is not None:
                known[found.machine_id] = (index, found)
        return Slots(known, frozenset(broken))

    def _written(self, first: int, count: int) -> Iterator[tuple[int, bytes]]:
        """Index and record of each slot that is not empty.

        Most are empty, so large stretches are compared with zeros.
        """
        with self._opened(os.O_RDONLY) as descriptor, mmap.mmap(-1, STRETCH_BYTES) as buffer:
            for start in range(first * SLOT_BYTES, (first + count) * SLOT_BYTES, STRETCH_BYTES):
                done = os.preadv(descriptor, [buffer], start)
                data = buffer[:done]
                if data == ZEROS[:done]:
                    continue
                for offset in range(0, done - SLOT_BYTES + 1, SLOT_BYTES):
                    record = data[offset : offset + lease.RECORD_BYTES]
                    if record.strip(b"\0"):
                        yield (start + offset) // SLOT_BYTES, record


@dataclass(frozen=True)
class Slots:
    """The lease slots as they were on the medium."""

    #: machine id -> slot and lease
    known: dict[str, tuple[int, Lease]]
    #: slots with a record that cannot be read
    broken: frozenset[int]

    def lease_of(self, machine_id: str) -> Lease | None:
        """The lease of a machine, or None. Raises LeaseUnreadable if it may be in a broken slot."""
        if machine_id in self.known:
            return self.known[machine_id][1]
        if self.broken:
            raise lease.unreadable()
        return None

    def index_of(self, machine_id: str) -> int:
        """The slot of a machine with a lease. Raises KeyError."""
        return self.known[machine_id][0]

    def first_free(self) -> int | None:
        """The first unused slot, or None if all are used."""
        used = {index for index, _ in self.known.values()} | self.broken
        return next((index for index in range(FIRST_LEASE, SLOTS) if index not in used), None)

"""Stores the leases of a shared pool: in a file beside a machine's disks, or in a slot of the lease volume.

Who may write which lease is decided in `worker.guest.leases`.
"""

import contextlib
import os
from pathlib import Path
from typing import Protocol

from worker import failpoints
from worker.errors import DiskFull
from worker.files import sync_directory
from worker.storage import lease
from worker.storage.area import Area
from worker.storage.lease import Lease
from worker.storage.locks import Turns

LEASE_FILE = "lease"


class LeaseStore(Protocol):
    """The leases of one pool, each durable before `write` returns. Raises LeaseUnreadable, OSError."""

    def read(self, machine_id: str) -> Lease | None:
        """The machine's lease, or None if it has none."""

    def write(self, record: Lease) -> None:
        """Store a lease in place of the machine's earlier one."""

    def drop(self, machine_id: str) -> None:
        """Remove the machine's lease. Idempotent."""

    def all(self) -> dict[str, Lease]:
        """All readable leases by machine id."""

    def forget_turn(self, host: str) -> None:
        """Free the lock of `host`, which is proven to be off."""


class FileLeases:
    """`lease` in a machine's directory: written beside it, on the medium, then renamed."""

    def __init__(self, directory: Path, *, host: str) -> None:
        self.directory = directory
        self.host = host

    def read(self, machine_id: str) -> Lease | None:
        try:
            record = (self.directory / machine_id / LEASE_FILE).read_bytes()
        except FileNotFoundError:
            return None
        known = lease.from_bytes(record)
        if known is None or known.machine_id != machine_id:
            raise lease.unreadable()
        return known

    def write(self, record: Lease) -> None:
        path = self.directory / record.machine_id / LEASE_FILE
        path.parent.mkdir(mode=0o700, exist_ok=True)
        # The host's name is part of the file name, so that two hosts do not write the same file.
        partial = path.with_name(f".{LEASE_FILE}.{self.host}")
        # O_NOFOLLOW: other hosts write in this folder too.
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(partial, flags, 0o644), "wb") as out:
            out.write(lease.to_bytes(record))
            out.flush()
            os.fsync(out.fileno())
        failpoints.reach("before a lease is renamed")
        partial.replace(path)
        sync_directory(path.parent)
        failpoints.reach("a lease is written")

    def drop(self, machine_id: str) -> None:
        folder = self.directory / machine_id
        for path in (folder / f".{LEASE_FILE}.{self.host}", folder / LEASE_FILE):
            path.unlink(missing_ok=True)
        failpoints.reach("a lease is gone")
        with contextlib.suppress(OSError):  # not empty: the machine has other files there
            folder.rmdir()

    def all(self) -> dict[str, Lease]:
        found = {}
        for path in self.directory.glob(f"[!.]*/{LEASE_FILE}"):
            known = self.read(path.parent.name)
            if known is not None:
                found[path.parent.name] = known
        return found

    def forget_turn(self, host: str) -> None:
        """Nothing to do: a shared directory has no lock."""


class GroupLeases:
    """Leases in slots of the lease volume.

    A new slot is chosen under the group's lock; a known one needs no lock.
    """

    def __init__(self, area: Area, turns: Turns) -> None:
        self.area = area
        self.turns = turns
        #: each machine's last slot, which is read first: reading all slots takes time while a guest is paused
        self._places: dict[str, int] = {}

    def read(self, machine_id: str) -> Lease | None:
        return self._find(machine_id)[1]

    def write(self, record: Lease) -> None:
        index, known = self._find(record.machine_id)
        if known is not None:
            self.area.write(index, lease.to_bytes(record))
            failpoints.reach("a lease is written")
            return
        with self.turns.taken(f"lease of {record.machine_id}"):
            slot = self.area.leases().first_free()
            if slot is None:
                raise DiskFull("LEASES_FULL", pool=self.turns.pool)
            self.area.write(slot, lease.to_bytes(record))
        failpoints.reach("a lease is written")

    def drop(self, machine_id: str) -> None:
        index, known = self._find(machine_id)
        if known is not None:
            self.area.write(index, b"")
            failpoints.reach("a lease is gone")

    def _find(self, machine_id: str) -> tuple[int, Lease | None]:
        """The machine's slot and lease; (0, None) if there is none. Raises LeaseUnreadable, OSError."""
        index = self._places.get(machine_id, 0)
        if index:
            (record,) = self.area.read(index)
            known = lease.from_bytes(record)
            if known is not None and known.machine_id == machine_id:
                return index, known
        slots = self.area.leases()
        known = slots.lease_of(machine_id)
        if known is None:
            self._places.pop(machine_id, None)
            return 0, None
        self._places[machine_id] = slots.index_of(machine_id)
        return self._places[machine_id], known

    def all(self) -> dict[str, Lease]:
        return {machine_id: known for machine_id, (_, known) in self.area.leases().known.items()}

    def forget_turn(self, host: str) -> None:
        self.turns.forget(host)


def held_elsewhere(book: LeaseStore | None, machine_id: str, *, host: str) -> Lease | None:
    """The machine's lease if another host holds it and has not released it, else None."""
    known = book.read(machine_id) if book is not None else None
    return known if known is not None and known.owner != host and not known.is_released else None

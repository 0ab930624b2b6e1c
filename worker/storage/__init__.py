"""Storage pools for machines' disks; all kinds of pool have the same methods.

Defines the protocol `Pool`, and `Pools`, which holds a host's pools. What is written to a disk is decided in
`worker.images`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from worker.contract import PoolSeen, VolumeSeen
from worker.errors import PoolUnknown
from worker.settings import Settings
from worker.storage.file import FilePool
from worker.storage.lease_store import LeaseStore
from worker.storage.lvm import LvmPool
from worker.storage.shared_file import SharedFilePool

Progress = Callable[[float], None]


class Pool(Protocol):
    """One storage pool. A disk is made as a draft and gets its own name when it is complete.

    All methods that change the pool raise LeaseHeld when another host holds the lease of the machine's disks,
    PoolMisconfigured when the pool is not set up as required, and DiskFailed or OSError on errors of the
    storage.
    """

    @property
    def name(self) -> str: ...

    @property
    def leases(self) -> LeaseStore | None:
        """The leases of a pool that several hosts see; None if only this host sees it. Raises WorkerError."""

    def path(self, machine_id: str, disk_id: str) -> Path:
        """Path of the finished disk, whether or not it exists yet."""

    def exists(self, machine_id: str, disk_id: str) -> bool:
        """Whether the finished disk exists. A draft does not count."""

    def begin_blank(self, machine_id: str, disk_id: str, *, size_mib: int) -> Path:
        """Make an empty draft, replacing an earlier one. Returns its path. Raises DiskFull, DiskFailed."""

    def begin_copy(
        self, machine_id: str, disk_id: str, *, template: Path, size_mib: int, on_progress: Progress
    ) -> Path:
        """Make a draft with the template's content and the ordered size, replacing an earlier one.

        Returns its path. `on_progress` receives values from 0.0 to 1.0. Raises DiskTooSmall, DiskFull,
        DiskFailed.
        """

    def finish(self, machine_id: str, disk_id: str) -> None:
        """Rename the draft to the disk's own name. Afterwards there is no draft. Raises DiskFailed."""

    def flush(self, machine_id: str, disk_id: str) -> None:
        """Wait until the finished disk is durable. Raises DiskFailed."""

    def remove(self, machine_id: str, disk_id: str) -> None:
        """Remove the disk and its draft. Idempotent."""

    def make_visible(self, machine_id: str) -> None:
        """Make the machine's disks available on this host, in their current state.

        Raises DiskFailed.
        """

    def let_go(self, machine_id: str) -> None:
        """Undo `make_visible`. The disks stay where they are."""

    def probe(self) -> PoolSeen:
        """The pool's kind, id, and total and free space in MiB. Raises DiskFailed, OSError."""

    def volumes(self) -> list[VolumeSeen]:
        """Every disk of WebXen in the pool, including drafts. Raises DiskFailed, OSError."""


class Pools:
    """This host's pools, each made once: what one has opened, such as its leases, stays open."""

    def __init__(self, settings: Settings) -> None:
        self._pools: dict[str, Pool] = {FilePool.NAME: FilePool(settings.disks_dir)}
        for name in (*settings.lvm_pools, *settings.file_pools):
            if (pool := find_shareable(settings, name)) is not None:
                self._pools[name] = pool

    def find(self, name: str) -> Pool:
        """The pool of that name. Raises PoolUnknown."""
        if name not in self._pools:
            raise PoolUnknown("POOL_NOT_HERE", pool=name)
        return self._pools[name]

    def all(self) -> list[Pool]:
        """Every pool, the host's own directory first."""
        return list(self._pools.values())


def find_shareable(settings: Settings, name: str) -> LvmPool | SharedFilePool | None:
    """A pool of a kind that can be shared between hosts, or None if this host has none of that name."""
    if name in settings.lvm_pools:
        lock = settings.lock_file(f"pool-{name}")
        return LvmPool(name, host=settings.host, number=settings.host_number, lock=lock)
    if name in settings.file_pools:
        return SharedFilePool(settings.file_pools[name], name=name, host=settings.host)
    return None

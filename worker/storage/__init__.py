"""Where machines' disks lie on this host: pools, all with the same verbs.

Lives here: the verb set (`Pool`) and `find_pool`. What goes onto a disk is `images` and `seed`.
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
    """A disk is begun as a draft and exists under its own name only when it is finished."""

    @property
    def name(self) -> str: ...

    @property
    def leases(self) -> LeaseStore | None:
        """Who may open which machine's disks, where several hosts see them. Raises WorkerError."""

    def path(self, machine_id: str, disk_id: str) -> Path:
        """Where the finished disk is, or will be."""

    def exists(self, machine_id: str, disk_id: str) -> bool: ...

    def begin_blank(self, machine_id: str, disk_id: str, *, size_mib: int) -> Path: ...

    def begin_copy(
        self, machine_id: str, disk_id: str, *, template: Path, size_mib: int, on_progress: Progress
    ) -> Path: ...

    def finish(self, machine_id: str, disk_id: str) -> None: ...

    def flush(self, machine_id: str, disk_id: str) -> None: ...

    def remove(self, machine_id: str, disk_id: str) -> None:
        """Remove the disk and its draft; nothing happens when neither is there. Raises LeaseHeld."""

    def make_visible(self, machine_id: str) -> None:
        """Let this host open the machine's disks, as they are now."""

    def let_go(self, machine_id: str) -> None:
        """This host opens them no more; they stay where they are."""

    def probe(self) -> PoolSeen: ...

    def volumes(self) -> list[VolumeSeen]:
        """Every disk of ours in the pool, drafts too. Raises DiskFailed, OSError."""


def find_pool(settings: Settings, name: str) -> Pool:
    """The pool of that name. Raises PoolUnknown."""
    if name == FilePool.NAME:
        return FilePool(settings.disks_dir)
    shared = find_shareable(settings, name)
    if shared is None:
        raise PoolUnknown(f"This host has no storage pool named {name!r}. Choose another host or pool.")
    return shared


def find_shareable(settings: Settings, name: str) -> LvmPool | SharedFilePool | None:
    """A pool that more than this host may see; None when there is none of that name."""
    if name in settings.lvm_pools:
        lock = settings.lock_file(f"pool-{name}")
        return LvmPool(name, host=settings.host, number=settings.host_number, lock=lock)
    if name in settings.file_pools:
        return SharedFilePool(settings.file_pools[name], name=name, host=settings.host)
    return None


def all_pools(settings: Settings) -> list[Pool]:
    names = (FilePool.NAME, *settings.lvm_pools, *settings.file_pools)
    return [find_pool(settings, name) for name in names]

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
from worker.storage.lvm import LvmPool

Progress = Callable[[float], None]


class Pool(Protocol):
    """A disk is begun as a draft and exists under its own name only when it is finished."""

    @property
    def name(self) -> str: ...

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
        """Remove the disk and its draft; nothing happens when neither is there."""

    def probe(self) -> PoolSeen: ...

    def volumes(self) -> list[VolumeSeen]:
        """Every disk of ours in the pool, drafts too. Raises DiskFailed, OSError."""


def find_pool(settings: Settings, name: str) -> Pool:
    """The pool of that name. Raises PoolUnknown."""
    if name == FilePool.NAME:
        return FilePool(settings.disks_dir)
    if name in settings.lvm_pools:
        return LvmPool(name)
    raise PoolUnknown(f"This host has no storage pool named {name!r}. Choose another host or pool.")


def all_pools(settings: Settings) -> list[Pool]:
    return [FilePool(settings.disks_dir), *(LvmPool(name) for name in settings.lvm_pools)]

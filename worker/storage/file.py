"""A pool that is a directory with one raw, sparse file per disk. "local" is the one in the state directory.

A disk is written under a draft name and renamed when it is complete, so a file with a disk's own name is
always complete. The shared variant is `shared_file`.
"""

import contextlib
import errno
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

from worker import failpoints
from worker.contract import MIB, UUID, PoolSeen, VolumeSeen
from worker.errors import DiskFailed, DiskFull, DiskTooSmall, PoolMisconfigured
from worker.files import sync_directory, write_durably
from worker.storage.copying import copy_sparse
from worker.storage.lease_store import FileLeases

DISK, DRAFT = ".img", ".draft"
#: space that is never used for disks, so that the journal stays writable
RESERVE_BYTES = 16 * MIB
#: holds the pool's id, by which two hosts recognize the same pool
ID_FILE = ".webxen-pool"


class FilePool:
    """The host's own pool. `name` is its name in the portal."""

    NAME: ClassVar[str] = "local"
    leases: FileLeases | None = None

    def __init__(self, directory: Path, *, name: str = NAME) -> None:
        self.directory = directory
        self.name = name

    def path(self, machine_id: str, disk_id: str) -> Path:
        return self.directory / machine_id / f"{disk_id}{DISK}"

    def exists(self, machine_id: str, disk_id: str) -> bool:
        return self.path(machine_id, disk_id).exists()

    def begin_blank(self, machine_id: str, disk_id: str, *, size_mib: int) -> Path:
        """Make an empty draft. Returns its path. Raises DiskFull, DiskFailed."""
        self._may_change(machine_id)
        draft = self._draft(machine_id, disk_id)
        with _explained(), self._opened(draft) as target:
            os.ftruncate(target, size_mib * MIB)
        return draft

    def begin_copy(
        self,
        machine_id: str,
        disk_id: str,
        *,
        template: Path,
        size_mib: int,
        on_progress: Callable[[float], None],
    ) -> Path:
        """Make a draft with the template's content and the ordered size. Returns its path.

        Raises DiskFull, DiskTooSmall, DiskFailed.
        """
        self._may_change(machine_id)
        draft = self._draft(machine_id, disk_id)
        with _explained(), template.open("rb", buffering=0) as source:
            facts = os.fstat(source.fileno())
            if facts.st_size > size_mib * MIB:
                needed = -(-facts.st_size // MIB)
                raise DiskTooSmall("DISK_SMALLER_THAN_IMAGE", size_mib=size_mib, needed_mib=needed)
            with self._opened(draft) as target:
                failpoints.reach("a draft is there")
                copy_sparse(source.fileno(), target, on_progress=on_progress)
                os.ftruncate(target, size_mib * MIB)
        failpoints.reach("a draft is whole")
        return draft

    def finish(self, machine_id: str, disk_id: str) -> None:
        """Rename the draft to the disk's own name. Raises DiskFull, DiskFailed."""
        self._may_change(machine_id)
        with _explained():
            self._draft(machine_id, disk_id).replace(self.path(machine_id, disk_id))
        failpoints.reach("a disk has its name")

    def flush(self, machine_id: str, disk_id: str) -> None:
        """Wait until the disk and its name are durable. Raises DiskFailed."""
        path = self.path(machine_id, disk_id)
        with _explained(), path.open("rb") as disk:
            os.fsync(disk.fileno())
            sync_directory(path.parent)

    def remove(self, machine_id: str, disk_id: str) -> None:
        self._may_change(machine_id)
        self._draft(machine_id, disk_id).unlink(missing_ok=True)
        self.path(machine_id, disk_id).unlink(missing_ok=True)
        failpoints.reach("a disk is gone")
        self._leave(machine_id)

    def _may_change(self, machine_id: str) -> None:
        """Raises LeaseHeld if another host holds the lease of the machine's disks."""

    def _leave(self, machine_id: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            try:
                (self.directory / machine_id).rmdir()
            except OSError as error:
                if error.errno != errno.ENOTEMPTY:
                    raise

    def probe(self) -> PoolSeen:
        facts = os.statvfs(self.directory)
        return PoolSeen(
            name=self.name,
            kind="FILE",
            total_mib=facts.f_blocks * facts.f_frsize // MIB,
            free_mib=max(0, facts.f_bavail * facts.f_frsize - RESERVE_BYTES) // MIB,
            id=self.identity(),
            is_shared=self.leases is not None,
        )

    def identity(self) -> str:
        """The id in the directory's root, which is created if it is missing; "" if that is not possible."""
        try:
            return make_identity(self.directory)
        except OSError:  # a full disk is still a pool
            return ""

    def make_visible(self, machine_id: str) -> None:
        """Nothing to do: a file is visible wherever its directory is."""

    def let_go(self, machine_id: str) -> None:
        """Nothing to do: nothing is held."""

    def volumes(self) -> list[VolumeSeen]:
        found = []
        for path in sorted(self.directory.glob("*/*")):
            if self._is_disk(path):
                with contextlib.suppress(FileNotFoundError):  # just renamed or removed
                    size_mib = path.stat().st_size // MIB
                    found.append(
                        VolumeSeen(path.parent.name, path.stem, self.name, size_mib, path.suffix == DRAFT)
                    )
        return found

    @staticmethod
    def _is_disk(path: Path) -> bool:
        return path.suffix in (DISK, DRAFT)

    def _draft(self, machine_id: str, disk_id: str) -> Path:
        return self.directory / machine_id / f"{disk_id}{DRAFT}"

    @contextlib.contextmanager
    def _opened(self, draft: Path) -> Iterator[int]:
        draft.parent.mkdir(mode=0o700, exist_ok=True)
        target = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        try:
            yield target
        finally:
            os.close(target)


def make_identity(directory: Path) -> str:
    """Read the directory's id, or create one. Two hosts that create one at once get the same.

    Raises OSError.
    """
    path = directory / ID_FILE
    if not path.exists():
        draft = directory / f"{ID_FILE}.{uuid.uuid4()}"
        try:
            write_durably(draft, f"{uuid.uuid4()}\n".encode(), mode=0o644)
            with contextlib.suppress(FileExistsError):
                path.hardlink_to(draft)
        finally:
            draft.unlink(missing_ok=True)
    return read_identity(directory)


def read_identity(directory: Path) -> str:
    """The directory's id. Raises FileNotFoundError, PoolMisconfigured."""
    text = (directory / ID_FILE).read_text().strip()
    if not UUID.fullmatch(text):
        raise PoolMisconfigured("POOL_ID_MISSING", path=directory / ID_FILE)
    return text


def _full() -> DiskFull:
    return DiskFull("HOST_DISK_FULL")


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _full() from error
        raise DiskFailed("DISK_NOT_WRITTEN", error=error.strerror) from error

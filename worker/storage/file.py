"""The pool named "local": a raw, sparse file a disk, below the worker's state directory.

Lives here: making, finishing and removing those files. A disk is written under a draft name and
renamed when it is whole, so a file with a disk's own name is always a whole disk.
"""

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

from worker import points
from worker.contract import PoolSeen, VolumeSeen
from worker.errors import DiskFailed, DiskFull, DiskTooSmall
from worker.storage.copying import copy_sparse

MIB = 1 << 20
DISK, DRAFT = ".img", ".draft"
#: never fill the host's last megabytes: the journal must stay writable
RESERVE_BYTES = 16 * MIB


class FilePool:
    NAME: ClassVar[str] = "local"

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @property
    def name(self) -> str:
        return self.NAME

    def path(self, machine_id: str, disk_id: str) -> Path:
        return self.directory / machine_id / f"{disk_id}{DISK}"

    def exists(self, machine_id: str, disk_id: str) -> bool:
        return self.path(machine_id, disk_id).exists()

    def begin_blank(self, machine_id: str, disk_id: str, *, size_mib: int) -> Path:
        """An empty draft. Raises DiskFull, DiskFailed."""
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
        """A draft with the template's content, as large as ordered. Raises DiskFull, DiskTooSmall."""
        draft = self._draft(machine_id, disk_id)
        with _explained(), template.open("rb", buffering=0) as source:
            facts = os.fstat(source.fileno())
            if facts.st_size > size_mib * MIB:
                needed = -(-facts.st_size // MIB)
                raise DiskTooSmall(
                    f"The disk has {size_mib} MiB and the image needs {needed} MiB. Ask for a larger disk."
                )
            with self._opened(draft) as target:
                points.reach("a draft is there")
                copy_sparse(source.fileno(), target, on_progress=on_progress)
                os.ftruncate(target, size_mib * MIB)
        points.reach("a draft is whole")
        return draft

    def finish(self, machine_id: str, disk_id: str) -> None:
        """Give the draft its own name: from now on it is a whole disk."""
        with _explained():
            self._draft(machine_id, disk_id).replace(self.path(machine_id, disk_id))
        points.reach("a disk has its name")

    def flush(self, machine_id: str, disk_id: str) -> None:
        """Wait until the disk is on the medium."""
        with _explained(), self.path(machine_id, disk_id).open("rb") as disk:
            os.fsync(disk.fileno())

    def remove(self, machine_id: str, disk_id: str) -> None:
        self._draft(machine_id, disk_id).unlink(missing_ok=True)
        self.path(machine_id, disk_id).unlink(missing_ok=True)
        points.reach("a disk is gone")
        with contextlib.suppress(FileNotFoundError):
            try:
                (self.directory / machine_id).rmdir()
            except OSError as error:
                if error.errno != errno.ENOTEMPTY:
                    raise

    def probe(self) -> PoolSeen:
        facts = os.statvfs(self.directory)
        return PoolSeen(
            name=self.NAME,
            kind="FILE",
            total_mib=facts.f_blocks * facts.f_frsize // MIB,
            free_mib=max(0, facts.f_bavail * facts.f_frsize - RESERVE_BYTES) // MIB,
        )

    def volumes(self) -> list[VolumeSeen]:
        found = []
        for path in sorted(self.directory.glob("*/*")):
            if path.suffix in (DISK, DRAFT):
                with contextlib.suppress(FileNotFoundError):  # just renamed or removed
                    size_mib = path.stat().st_size // MIB
                    found.append(
                        VolumeSeen(path.parent.name, path.stem, self.NAME, size_mib, path.suffix == DRAFT)
                    )
        return found

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


def _full() -> DiskFull:
    return DiskFull(
        "The host's disk is full. Nothing was kept; try again later, choose another host, or ask an"
        " administrator to make room."
    )


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _full() from error
        raise DiskFailed(
            f"The host could not write the disk ({error.strerror}). Try again or tell an administrator."
        ) from error

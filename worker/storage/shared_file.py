"""A pool that is a directory several hosts see, e.g. an NFS export: files, with a lease beside them.

Adds to `file` the leases, and checks that the directory is the one that staff set up.
"""

from pathlib import Path

from worker.contract import PoolSeen, VolumeSeen
from worker.errors import LeaseHeld, PoolMisconfigured
from worker.storage import lease
from worker.storage.file import FilePool, make_identity, read_identity
from worker.storage.lease_store import FileLeases, held_elsewhere

MOUNTS = Path("/proc/self/mountinfo")


class SharedFilePool(FilePool):
    leases: FileLeases

    def __init__(self, directory: Path, *, name: str, host: str) -> None:
        super().__init__(directory, name=name)
        self.host = host
        self.leases = FileLeases(directory, host=host)

    def identity(self) -> str:
        """The pool's id.

        Never created here: a directory without one is a mount point with nothing mounted.
        """
        try:
            found = read_identity(self.directory)
        except FileNotFoundError as error:
            raise PoolMisconfigured("SHARED_POOL_NOT_MOUNTED", pool=self.name, path=self.directory) from error
        self._check_mount()
        return found

    def share(self) -> None:
        """Make the directory a shared pool. Staff runs this once, on one host.

        Raises OSError, PoolMisconfigured.
        """
        make_identity(self.directory)
        self._check_mount()

    def exists(self, machine_id: str, disk_id: str) -> bool:
        self.identity()
        return super().exists(machine_id, disk_id)

    def _leave(self, machine_id: str) -> None:
        if not any(self._is_disk(path) for path in (self.directory / machine_id).glob("*")):
            self.leases.drop(machine_id)
        super()._leave(machine_id)

    def probe(self) -> PoolSeen:
        self.identity()
        return super().probe()

    def volumes(self) -> list[VolumeSeen]:
        """The volumes whose lease is this host's, and those that have none."""
        self.identity()
        leases = self.leases.all()
        return [
            volume
            for volume in super().volumes()
            if volume.machine_id not in leases or leases[volume.machine_id].owner == self.host
        ]

    def _may_change(self, machine_id: str) -> None:
        self.identity()
        other = held_elsewhere(self.leases, machine_id, host=self.host)
        if other is not None:
            raise LeaseHeld("DISKS_OF_ANOTHER_HOST", pool=self.name, holder=lease.describe(other))

    def _check_mount(self) -> None:
        if is_stale_mount(MOUNTS.read_text(), self.directory.resolve()):
            raise PoolMisconfigured("NFS_CACHES_NAMES", path=self.directory)


def is_stale_mount(text: str, directory: Path) -> bool:
    """Whether, by this mountinfo, the directory is on an NFS mount that caches names."""
    deepest, best = -1, ("", "")
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        words, kind = before.split(), after.split()
        if len(words) > 4 and len(kind) >= 3:
            point = Path(words[4].encode().decode("unicode_escape"))
            # of two mounts on one mount point the later one covers the other
            if directory.is_relative_to(point) and len(point.parts) >= deepest:
                deepest, best = len(point.parts), (kind[0], kind[2])
    return best[0] in ("nfs", "nfs4") and "lookupcache=none" not in best[1].split(",")

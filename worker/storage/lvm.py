"""A pool that is an LVM volume group: a logical volume a disk, tagged with its machine.

Lives here: making, finishing and removing those volumes. A volume is removed only when its name and
its tag both say it is the machine's.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path

from worker import shell
from worker.contract import PoolSeen, VolumeSeen
from worker.errors import DiskFailed, DiskFull, DiskTooSmall
from worker.storage.copying import copy_sparse

LVM_SECONDS = 120.0
MIB = 1 << 20
TAG = "webxen-machine-"
DRAFT = "-draft"


class LvmPool:
    """One volume group. Draft volumes end in `-draft`; a finished one has the disk's own name."""

    def __init__(self, group: str) -> None:
        self.group = group

    @property
    def name(self) -> str:
        return self.group

    def path(self, machine_id: str, disk_id: str) -> Path:
        return Path("/dev") / self.group / _volume(machine_id, disk_id)

    def exists(self, machine_id: str, disk_id: str) -> bool:
        return _volume(machine_id, disk_id) in self._volumes(machine_id)

    def begin_blank(self, machine_id: str, disk_id: str, *, size_mib: int) -> Path:
        draft = f"{_volume(machine_id, disk_id)}{DRAFT}"
        if draft in self._volumes(machine_id):
            self._remove(draft)
        # -W y -Z y: a volume may hold what the last owner of its blocks left at its start
        argv = ["lvcreate", "-y", "-Wy", "-Zy", "-n", draft, "-L", f"{size_mib}m"]
        self._lvm([*argv, "--addtag", _tag(machine_id), self.group])
        # A volume is not born zeroed: its blocks were another machine's.
        self._lvm(["blkdiscard", "-f", "-z", f"/dev/{self.group}/{draft}"])
        return Path("/dev") / self.group / draft

    def begin_copy(
        self,
        machine_id: str,
        disk_id: str,
        *,
        template: Path,
        size_mib: int,
        on_progress: Callable[[float], None],
    ) -> Path:
        size = template.stat().st_size
        if size > size_mib * MIB:
            needed = -(-size // MIB)
            raise DiskTooSmall(
                f"The disk has {size_mib} MiB and the image needs {needed} MiB. Ask for a larger disk."
            )
        draft = self.begin_blank(machine_id, disk_id, size_mib=size_mib)
        with template.open("rb", buffering=0) as source, draft.open("r+b", buffering=0) as target:
            copy_sparse(source.fileno(), target.fileno(), on_progress=on_progress)
            os.fsync(target.fileno())
        return draft

    def finish(self, machine_id: str, disk_id: str) -> None:
        name = _volume(machine_id, disk_id)
        self._lvm(["lvrename", self.group, f"{name}{DRAFT}", name])

    def flush(self, machine_id: str, disk_id: str) -> None:
        """Nothing waits: a copy is flushed when it is made."""

    def remove(self, machine_id: str, disk_id: str) -> None:
        name = _volume(machine_id, disk_id)
        for volume in self._volumes(machine_id):
            if volume in (name, f"{name}{DRAFT}"):
                self._remove(volume)

    def probe(self) -> PoolSeen:
        argv = ["vgs", "--noheadings", "--nosuffix", "--units", "m"]
        words = self._lvm([*argv, "-o", "vg_size,vg_free,vg_uuid", self.group]).split()
        # The group's uuid lies on its disks: whoever sees the same one sees the same volumes.
        return PoolSeen(self.group, "LVM", int(float(words[0])), int(float(words[1])), words[2])

    def volumes(self) -> list[VolumeSeen]:
        argv = ["lvs", "--noheadings", "--nosuffix", "--units", "m", "--separator", "|"]
        return parse_volumes(self._lvm([*argv, "-o", "lv_name,lv_size,lv_tags", self.group]), pool=self.group)

    def _volumes(self, machine_id: str) -> list[str]:
        argv = ["lvs", "--noheadings", "-o", "lv_name", "-S", f"lv_tags={_tag(machine_id)}", self.group]
        return self._lvm(argv).split()

    def _remove(self, volume: str) -> None:
        self._lvm(["lvremove", "-y", f"{self.group}/{volume}"])

    def _lvm(self, argv: list[str]) -> str:
        try:
            result = shell.run(argv, timeout_seconds=LVM_SECONDS)
        except (OSError, shell.CommandTimedOut) as error:
            raise DiskFailed(
                f"The volume group {self.group} does not answer. Tell an administrator."
            ) from error
        if result.rc == 0:
            return result.text
        if re.search(r"insufficient free space|Volume group .* has insufficient", result.error_text):
            raise DiskFull(
                f"The volume group {self.group} is full. Try again later or choose another host or pool."
            )
        words = " ".join(result.error_text.split())[-200:]
        raise DiskFailed(
            f"{argv[0]} failed in the volume group {self.group}: {words}. Tell an administrator."
        )


def parse_volumes(text: str, *, pool: str) -> list[VolumeSeen]:
    """Read `lvs -o lv_name,lv_size,lv_tags`; ours are those whose name and tag name the same machine."""
    found = []
    for line in text.splitlines():
        name, size, tags = [*line.strip().split("|"), "", ""][:3]
        ours = (tag.removeprefix(TAG) for tag in tags.split(",") if tag.startswith(TAG))
        machine_id = next(ours, "")
        start = _volume(machine_id, "")
        if machine_id and name.startswith(start):
            disk_id = name.removeprefix(start)
            is_draft = disk_id.endswith(DRAFT)
            found.append(
                VolumeSeen(machine_id, disk_id.removesuffix(DRAFT), pool, int(float(size)), is_draft)
            )
    return found


def _volume(machine_id: str, disk_id: str) -> str:
    return f"webxen-{machine_id}-{disk_id}"


def _tag(machine_id: str) -> str:
    return f"{TAG}{machine_id}"

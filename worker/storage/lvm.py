"""A pool that is an LVM volume group: one logical volume per disk, tagged with its machine.

A volume is removed only when both its name and its tag name the machine. A group with a lease volume is
shared between hosts: one host at a time changes its metadata (`locks`), only the host that holds a machine's
lease changes its volumes, and a volume is activated only where it is used.
"""

import contextlib
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from worker import failpoints, shell
from worker.contract import MIB, PoolSeen, VolumeSeen
from worker.errors import DiskFailed, DiskFull, DiskTooSmall, LeaseHeld, PoolMisconfigured
from worker.storage import lease
from worker.storage.area import AREA_BYTES, Area
from worker.storage.copying import copy_sparse
from worker.storage.lease_store import GroupLeases, held_elsewhere
from worker.storage.locks import Turns

LVM_SECONDS = 120.0
#: a group without a lease volume is taken for this host's alone for so long
OWN_SECONDS = 5.0
TAG = "webxen-machine-"
DRAFT = "-draft"
#: a size as LVM prints it with --nosuffix --units m; fifteen digits of MiB exceed any disk
NUMBER = re.compile(r"\d{1,15}(\.\d+)?", re.ASCII)
#: the volume that makes a group a shared one
LEASE_VOLUME = "webxen-leases"
FULL = re.compile(r"insufficient free space|Volume group .* has insufficient|insufficient suitable")


@dataclass(frozen=True)
class Row:
    """One line of `lvs`."""

    name: str
    size_mib: int
    tags: tuple[str, ...]
    is_active: bool


class LvmPool:
    """One volume group. Draft volumes end in `-draft`; a finished volume has the disk's own name."""

    def __init__(self, group: str, *, host: str, number: int, lock: Path) -> None:
        self.group = group
        self.host = host
        #: this host's number among those that see the group
        self.number = number
        self.lock = lock
        #: of a group that was found shared and in order, which never becomes another
        self._leases: GroupLeases | None = None
        self._opening = threading.Lock()
        self._own_until = 0.0

    @property
    def name(self) -> str:
        return self.group

    @property
    def leases(self) -> GroupLeases | None:
        """The group's leases; None if only this host sees the group. Raises PoolMisconfigured, DiskFailed."""
        with self._opening:
            if self._leases is not None and self._leases.area.path.exists():
                return self._leases
            if self._leases is None and time.monotonic() < self._own_until:
                return None
            if any(row.name == LEASE_VOLUME for row in self._rows()):
                self._leases = self._open_leases()
            elif self._leases is not None:
                raise PoolMisconfigured("LEASES_GONE", group=self.group)
            else:
                self._own_until = time.monotonic() + OWN_SECONDS
            return self._leases

    def path(self, machine_id: str, disk_id: str) -> Path:
        return self._device(_volume(machine_id, disk_id))

    def exists(self, machine_id: str, disk_id: str) -> bool:
        return _volume(machine_id, disk_id) in self._volumes(machine_id)

    def begin_blank(self, machine_id: str, disk_id: str, *, size_mib: int) -> Path:
        """Make an empty, zeroed draft. Returns its device. Raises DiskFull, DiskFailed, LeaseHeld."""
        draft = f"{_volume(machine_id, disk_id)}{DRAFT}"
        # -W y -Z y: wipe signatures that an earlier volume left at its start
        argv = ["lvcreate", "-y", "-Wy", "-Zy", "-n", draft, "-L", f"{size_mib}m"]
        if self.leases is not None:
            # not at boot on every host that sees the group, only where the machine is
            argv += ["--setautoactivation", "n"]
        with self._changing(f"lvcreate {draft}", machine_id):
            if draft in self._volumes(machine_id):
                self._remove(draft)
            self._lvm([*argv, "--addtag", _tag(machine_id), self.group])
            failpoints.reach("a draft is there")
        # A new volume is not zeroed: its blocks belonged to another machine.
        self._lvm(["blkdiscard", "-f", "-z", str(self._device(draft))])
        return self._device(draft)

    def begin_copy(
        self,
        machine_id: str,
        disk_id: str,
        *,
        template: Path,
        size_mib: int,
        on_progress: Callable[[float], None],
    ) -> Path:
        """Make a draft with the template's content. Raises DiskTooSmall and what `begin_blank` does."""
        size = template.stat().st_size
        if size > size_mib * MIB:
            needed = -(-size // MIB)
            raise DiskTooSmall("DISK_SMALLER_THAN_IMAGE", size_mib=size_mib, needed_mib=needed)
        draft = self.begin_blank(machine_id, disk_id, size_mib=size_mib)
        with template.open("rb", buffering=0) as source, draft.open("r+b", buffering=0) as target:
            copy_sparse(source.fileno(), target.fileno(), on_progress=on_progress)
            os.fsync(target.fileno())
        failpoints.reach("a draft is whole")
        return draft

    def finish(self, machine_id: str, disk_id: str) -> None:
        """Rename the draft to the disk's own name. Raises DiskFailed, LeaseHeld."""
        name = _volume(machine_id, disk_id)
        # Guests bypass this host's page cache, so what tools wrote must be flushed first.
        _flush(self._device(f"{name}{DRAFT}"))
        with self._changing(f"lvrename {name}", machine_id):
            self._lvm(["lvrename", self.group, f"{name}{DRAFT}", name])
        failpoints.reach("a disk has its name")

    def flush(self, machine_id: str, disk_id: str) -> None:
        """Nothing to do: a copy is flushed when it is made."""

    def remove(self, machine_id: str, disk_id: str) -> None:
        """Remove the disk and its draft, and the machine's lease with its last volume.

        Raises DiskFailed, LeaseHeld.
        """
        name = _volume(machine_id, disk_id)
        with self._changing(f"lvremove {name}", machine_id):
            volumes = self._volumes(machine_id)
            for volume in volumes:
                if volume in (name, f"{name}{DRAFT}"):
                    self._remove(volume)
                    failpoints.reach("a disk is gone")
            if self.leases is not None and not set(volumes) - {name, f"{name}{DRAFT}"}:
                self.leases.drop(machine_id)

    def make_visible(self, machine_id: str) -> None:
        """Activate the machine's volumes on this host, as they are now. Raises DiskFailed."""
        for row in self._rows(machine_id):
            full = f"{self.group}/{row.name}"
            if row.is_active:
                # Another host may have changed it since, so the device mapping must be read again.
                self._lvm(["lvchange", "--refresh", full])
            else:
                self._lvm(["lvchange", "-ay", full])

    def let_go(self, machine_id: str) -> None:
        """Deactivate the machine's volumes in a shared group. Raises DiskFailed, e.g. when one is in use."""
        if self.leases is None:
            return
        for row in self._rows(machine_id):
            if row.is_active:
                self._lvm(["lvchange", "-an", f"{self.group}/{row.name}"])

    def probe(self) -> PoolSeen:
        identity, total, free = self._facts()
        return PoolSeen(self.group, "LVM", total, free, id=identity, is_shared=self.leases is not None)

    def volumes(self) -> list[VolumeSeen]:
        """Volumes of WebXen.

        In a shared group: those whose lease is this host's, and those that have none.
        """
        rows, book = self._rows(), self.leases
        leases = book.all() if book is not None else {}
        found = (volume_of(row, pool=self.group) for row in rows)
        return [
            volume
            for volume in found
            if volume is not None
            and (volume.machine_id not in leases or leases[volume.machine_id].owner == self.host)
        ]

    # --- sharing -------------------------------------------------------------------------------

    def share(self) -> None:
        """Make the group a shared one, with a lease volume. Staff runs this once, on one host.

        Raises DiskFailed.
        """
        identity, _, _ = self._facts()
        if not any(row.name == LEASE_VOLUME for row in self._rows()):
            argv = ["lvcreate", "-y", "-Wy", "-Zy", "-n", LEASE_VOLUME, "-L", f"{AREA_BYTES // MIB}m"]
            self._lvm([*argv, "--setautoactivation", "n", self.group])
            self._lvm(["blkdiscard", "-f", "-z", str(self._device(LEASE_VOLUME))])
            Area(self._device(LEASE_VOLUME)).format(identity)
        self._open_leases()

    def _open_leases(self) -> GroupLeases:
        self._lvm(["lvchange", "-ay", f"{self.group}/{LEASE_VOLUME}"])
        area = Area(self._device(LEASE_VOLUME))
        area.check(self._facts()[0])
        turns = Turns(area, pool=self.group, host=self.host, number=self.number, lock=self.lock)
        turns.tidy()
        return GroupLeases(area, turns)

    @contextlib.contextmanager
    def _changing(self, doing: str, machine_id: str) -> Iterator[None]:
        """Hold the group's lock and check the machine's lease, to change the group's metadata."""
        book = self.leases
        turn: AbstractContextManager[None] = (
            book.turns.taken(doing) if book is not None else contextlib.nullcontext()
        )
        with turn:
            other = held_elsewhere(book, machine_id, host=self.host)
            if other is not None:
                raise LeaseHeld("DISKS_OF_ANOTHER_HOST", pool=self.group, holder=lease.describe(other))
            yield

    # --- lvm -----------------------------------------------------------------------------------

    def _facts(self) -> tuple[str, int, int]:
        argv = ["vgs", "--noheadings", "--nosuffix", "--units", "m", "-o", "vg_uuid,vg_size,vg_free"]
        try:
            identity, total, free, *_ = self._lvm([*argv, self.group]).split()
            return identity, _mib(total), _mib(free)
        except ValueError as error:
            raise self._unreadable("vgs", error) from error

    def _rows(self, machine_id: str = "") -> list[Row]:
        """Every volume of the group, or those whose name and tag both name this machine."""
        argv = ["lvs", "--noheadings", "--nosuffix", "--units", "m", "--separator", "|"]
        try:
            rows = parse_rows(self._lvm([*argv, "-o", "lv_name,lv_size,lv_tags,lv_active", self.group]))
        except ValueError as error:
            raise self._unreadable("lvs", error) from error
        start = _volume(machine_id, "")
        return [
            row
            for row in rows
            if not machine_id or (row.name.startswith(start) and _tag(machine_id) in row.tags)
        ]

    def _volumes(self, machine_id: str) -> list[str]:
        return [row.name for row in self._rows(machine_id)]

    def _device(self, volume: str) -> Path:
        return Path("/dev") / self.group / volume

    def _remove(self, volume: str) -> None:
        self._lvm(["lvremove", "-y", f"{self.group}/{volume}"])

    def _unreadable(self, program: str, error: ValueError) -> DiskFailed:
        return DiskFailed("LVM_UNREADABLE", program=program, group=self.group, error=error)

    def _lvm(self, argv: list[str]) -> str:
        try:
            result = shell.run(argv, timeout_seconds=LVM_SECONDS)
        except (OSError, shell.CommandTimedOut) as error:
            raise DiskFailed("VOLUME_GROUP_NOT_RESPONDING", group=self.group) from error
        if result.rc == 0:
            return result.text
        if FULL.search(result.error_text):
            raise DiskFull("VOLUME_GROUP_FULL", group=self.group)
        words = " ".join(result.error_text.split())[-200:]
        raise DiskFailed("LVM_FAILED", program=argv[0], group=self.group, error=words)


def parse_rows(text: str) -> list[Row]:
    """Parse `lvs -o lv_name,lv_size,lv_tags,lv_active`. Raises ValueError for a malformed size."""
    rows = []
    for line in text.splitlines():
        name, size, tags, active, *_ = [*(word.strip() for word in line.split("|")), "", "", ""]
        if name:
            rows.append(
                Row(name, _mib(size or "0"), tuple(filter(None, tags.split(","))), active == "active")
            )
    return rows


def _mib(printed: str) -> int:
    """Whole MiB of a size such as "252.00". Raises ValueError."""
    if not NUMBER.fullmatch(printed):
        raise ValueError(f"{printed[:40]!r} is no size in MiB")
    return int(float(printed))


def volume_of(row: Row, *, pool: str) -> VolumeSeen | None:
    """The volume if its name and its tag name the same machine, else None."""
    machine_id = next((tag.removeprefix(TAG) for tag in row.tags if tag.startswith(TAG)), "")
    start = _volume(machine_id, "")
    if not machine_id or not row.name.startswith(start):
        return None
    disk_id = row.name.removeprefix(start)
    is_draft = disk_id.endswith(DRAFT)
    return VolumeSeen(machine_id, disk_id.removesuffix(DRAFT), pool, row.size_mib, is_draft)


def _flush(device: Path) -> None:
    try:
        with device.open("rb+", buffering=0) as disk:
            os.fsync(disk.fileno())
    except OSError as error:
        raise DiskFailed("DISK_NOT_WRITTEN", error=error.strerror) from error


def _volume(machine_id: str, disk_id: str) -> str:
    return f"webxen-{machine_id}-{disk_id}"


def _tag(machine_id: str) -> str:
    return f"{TAG}{machine_id}"

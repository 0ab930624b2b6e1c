"""The lab for tests and the launcher: up, down, status, reset.

Starts and stops hosts in order, under one lock.
"""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from devtools.lab import boot, image, needs, qemu
from devtools.lab.boot import Dom0
from devtools.lab.host import LabHost
from devtools.lab.image import Say
from devtools.lab.needs import install_missing
from devtools.lab.paths import LabError, LabPaths, lab_paths
from devtools.lab.qemu import Seat

__all__ = ["HostStatus", "LabError", "LabHost", "down", "hosts", "install_missing", "reset", "status", "up"]

MAX_HOSTS = 2


@dataclass(frozen=True)
class HostStatus:
    name: str
    is_running: bool
    is_paused: bool
    ssh_port: int
    pid: int | None


@contextmanager
def _locked(paths: LabPaths) -> Iterator[None]:
    """Allow one up, down or reset at a time."""
    paths.root.mkdir(parents=True, exist_ok=True, mode=0o700)
    with paths.lock.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _dom0s(paths: LabPaths) -> list[Dom0]:
    return [Dom0(paths, Seat(f"xen{number}")) for number in range(1, MAX_HOSTS + 1)]


def up(hosts: int = 1, say: Say = print, *, root: Path | None = None) -> list[LabHost]:
    """Start the hosts. Returns when each answers `xl info`. Raises LabError."""
    if not 1 <= hosts <= MAX_HOSTS:
        raise LabError(f"The lab has 1 or {MAX_HOSTS} hosts, not {hosts}.")
    paths = lab_paths(root)
    needs.require_programs()
    with _locked(paths):
        built = image.ensure_image(paths, say=say)
        accel = qemu.choose_accel(paths, built, say=say)
        first, *others = _dom0s(paths)
        if first.pid() is None:
            # Their network uses the first host's socket and does not reconnect by itself.
            for dom0 in others:
                boot.pause(dom0, say=say)
        wanted = [first, *others][:hosts]
        ready = [boot.start(dom0, built, accel=accel, say=say) for dom0 in wanted]
        if hosts > 1:
            _share_storage(ready, say=say)
    return ready


def _share_storage(ready: list[LabHost], *, say: Say) -> None:
    """Make the volume group "shared" on the disk that both hosts see.

    Its volumes are activated where they are used.
    """
    first, *others = ready
    with image.timed(say, "shared storage"):
        make = "vgs shared >/dev/null 2>&1 || { pvcreate -qq -y /dev/vdc && vgcreate -qq shared /dev/vdc; }"
        first.run(make, timeout_seconds=120, check=True)
        for host in others:
            see = "blockdev --flushbufs /dev/vdc; pvscan -qq --cache; vgs -qq shared"
            host.run(see, timeout_seconds=120, check=True)


def down(say: Say = print, *, root: Path | None = None) -> None:
    """Pause every running host. Its machines continue at the next `up`."""
    paths = lab_paths(root)
    with _locked(paths):
        for dom0 in reversed(_dom0s(paths)):
            boot.pause(dom0, say=say)


def reset(hosts: int = 1, say: Say = print, *, root: Path | None = None) -> list[LabHost]:
    """Discard all machines and start from the state after the first boot."""
    paths = lab_paths(root)
    with _locked(paths):
        for dom0 in _dom0s(paths):
            boot.end(dom0)
        shutil.rmtree(paths.root / "run", ignore_errors=True)
    return up(hosts, say, root=root)


def status(*, root: Path | None = None) -> list[HostStatus]:
    """The state of each host that was ever started."""
    found = []
    for dom0 in _dom0s(lab_paths(root)):
        if dom0.folder.exists():
            record, pid = dom0.read(), dom0.pid()
            paused = record.saved and pid is None
            found.append(HostStatus(dom0.seat.name, pid is not None, paused, record.ssh_port, pid))
    return found


def hosts(*, root: Path | None = None) -> list[LabHost]:
    """The hosts that run now."""
    return [dom0.host() for dom0 in _dom0s(lab_paths(root)) if dom0.pid() is not None]

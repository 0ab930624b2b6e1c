"""Where the lab keeps its things, and the one error its callers show.

Lives here: folders below the data directory. Nothing here touches them.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path


class LabError(Exception):
    """The lab cannot go on; the sentence says why and what to do."""


@dataclass(frozen=True)
class LabPaths:
    """The folders of one lab. `images` can be thrown away at any time, `run` holds machines' disks."""

    root: Path

    @property
    def images(self) -> Path:
        return self.root / "images"

    @property
    def boots(self) -> Path:
        return self.root / "boots"

    @property
    def store(self) -> Path:
        """What every new data disk starts with: images and kernels; `key` names its content."""
        return self.root / "store"

    @property
    def keys(self) -> Path:
        return self.root / "keys"

    @property
    def accel(self) -> Path:
        return self.root / "accel.json"

    @property
    def lock(self) -> Path:
        return self.root / "lock"

    @property
    def shared_disk(self) -> Path:
        return self.root / "run" / "shared.raw"

    @property
    def lan_socket(self) -> Path:
        return self.root / "run" / "lan"

    def host(self, name: str) -> Path:
        return self.root / "run" / name


def data_dir() -> Path:
    """The data directory; tests have one of their own, but build and boot the lab in the desk's."""
    named = os.environ.get("WEBXEN_LAB_DATA") or os.environ.get("WEBXEN_DATA")
    return Path(named or ".webxen").resolve()


def lab_paths(root: Path | None = None) -> LabPaths:
    paths = LabPaths(root or data_dir() / "lab")
    # QEMU's options and the shell it saves through have no safe way to carry these.
    if not re.fullmatch(r"[A-Za-z0-9/._+@-]+", str(paths.root)):
        raise LabError(f"The path {paths.root} has characters QEMU cannot take: set WEBXEN_DATA to another.")
    # A Unix socket's path has 108 bytes, and ssh adds a random ending of 17 while it makes one.
    if len(os.fsencode(paths.host("xen1"))) > 80:
        raise LabError(
            f"The path {paths.root} is too long for Unix sockets: set WEBXEN_DATA to a shorter folder."
        )
    return paths

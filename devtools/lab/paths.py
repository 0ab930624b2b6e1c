"""The folders of the lab, and the error that its callers show."""

import os
import re
from dataclasses import dataclass
from pathlib import Path


class LabError(Exception):
    """The lab cannot continue; the text says why and what to do."""


@dataclass(frozen=True)
class LabPaths:
    """The folders of one lab. `images` can be deleted at any time; `run` holds machines' disks."""

    root: Path

    @property
    def images(self) -> Path:
        return self.root / "images"

    @property
    def boots(self) -> Path:
        return self.root / "boots"

    @property
    def store(self) -> Path:
        """Content of every new data disk: images and kernels. Its file `key` identifies the content."""
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
    """The data directory. Tests have their own, but use the developer's lab (WEBXEN_LAB_DATA)."""
    named = os.environ.get("WEBXEN_LAB_DATA") or os.environ.get("WEBXEN_DATA")
    return Path(named or ".webxen").resolve()


def lab_paths(root: Path | None = None) -> LabPaths:
    paths = LabPaths(root or data_dir() / "lab")
    # other characters cannot be passed safely to QEMU's options and to the shell it saves through
    if not re.fullmatch(r"[A-Za-z0-9/._+@-]+", str(paths.root)):
        raise LabError(f"The path {paths.root} has characters QEMU cannot take: set WEBXEN_DATA to another.")
    # a Unix socket's path has at most 108 bytes, and ssh appends 17 random ones while it makes it
    if len(os.fsencode(paths.host("xen1"))) > 80:
        raise LabError(
            f"The path {paths.root} is too long for Unix sockets: set WEBXEN_DATA to a shorter folder."
        )
    return paths

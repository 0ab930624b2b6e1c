"""Root tarballs, e.g. OpenVZ and container templates: lists them and makes file systems of them.

There are two ways to an ext4 image without mounting anything: mke2fs reads the tarball itself (e2fsprogs >=
1.47.1 with libarchive), or tar unpacks it into a directory that mke2fs then copies. What a tarball may
contain is decided in `tar_reader`. Every program that reads the untrusted tarball runs with limits.
"""

import ctypes
import ctypes.util
import json
import os
import re
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from worker import shell
from worker.contract import MIB
from worker.errors import DeadlinePassed, DiskFailed, DiskFull, TemplateUnusable
from worker.images import tar_reader

#: the listing keeps the names of links and devices in memory
READER = shell.Limits(memory_bytes=512 * MIB, cpu_seconds=600, file_bytes=0, output_bytes=2 * MIB)
#: for tar with a decompressor, and for mke2fs: xz -9 takes 65 MiB, and mke2fs keeps a file system's bitmaps
MEMORY_BYTES = 2048 * MIB
#: prefix of the folders into which a tarball is unpacked
UNPACKED = ".unpack-"
#: a disk with less free space counts as full: the messages of tar and mke2fs depend on language and moment
FULL_BYTES = MIB
FULL = re.compile(r"No space left on device|Disk quota exceeded|Wrote only \d+ of \d+ bytes")


@dataclass(frozen=True)
class Contents:
    """The content of a tarball."""

    bytes: int
    entries: int
    #: device nodes, all below dev/; left out, because a guest's kernel makes its own
    devices: tuple[str, ...]


def look(path: Path, *, timeout_seconds: float = 600.0) -> Contents:
    """List a tarball in a process with limits. Raises TemplateUnusable, DeadlinePassed, DiskFailed."""
    argv = [sys.executable, "-ISE", str(Path(tar_reader.__file__).resolve()), str(path)]
    result = _run(argv, timeout_seconds, READER)
    try:
        values = json.loads(result.out)
        if "error" in values:
            raise _unusable(path, values["error"])
        return Contents(int(values["bytes"]), int(values["entries"]), tuple(map(str, values["devices"])))
    except (ValueError, KeyError, TypeError):
        raise _unusable(path, f"reading it {_ending(result)}") from None


def _unusable(path: Path, why: str) -> TemplateUnusable:
    return TemplateUnusable("IMAGE_NOT_USABLE", image=path.name, error=why)


def write_filesystem(path: Path, image: Path, *, contents: Contents, timeout_seconds: float) -> None:
    """Make an ext4 file system with the tarball's content in the (sparse, empty) file `image`.

    Raises TemplateUnusable, DiskFull, DiskFailed, DeadlinePassed.
    """
    if not contents.devices and _mke2fs_reads_tarballs():
        _mke2fs(str(path), image, timeout_seconds)
        return
    # Not in /tmp, which may be small or in memory. Mode 0700 keeps other accounts from setuid files in it.
    with tempfile.TemporaryDirectory(prefix=UNPACKED, dir=image.parent) as directory:
        root = Path(directory) / "root"
        root.mkdir(mode=0o755)
        _unpack(path, root, contents, timeout_seconds)
        _mke2fs(str(root), image, timeout_seconds)


def _unpack(path: Path, root: Path, contents: Contents, timeout_seconds: float) -> None:
    excludes = [f"--exclude={_literal(name)}" for name in contents.devices]
    argv = ["tar", "--anchored", *excludes, "--numeric-owner", "--same-owner", "-p", "--xattrs"]
    limits = shell.Limits(memory_bytes=MEMORY_BYTES, file_bytes=contents.bytes + MIB)
    argv += ["--xattrs-include=*", "-x", "-f", str(path), "-C", str(root)]
    result = _run(argv, timeout_seconds, limits)
    if result.rc != 0:
        raise _explain("tar", result, root)


def _literal(name: str) -> str:
    return re.sub(r"([*?\[\\])", r"\\\1", name)


def _mke2fs(source: str, image: Path, timeout_seconds: float) -> None:
    # Small images get 4 KiB blocks and 256-byte inodes too, which suits growing them later.
    argv = [
        "mke2fs",
        "-q",
        "-F",
        "-t",
        "ext4",
        "-b",
        "4096",
        "-m",
        "1",
        "-L",
        "root",
        "-d",
        source,
        str(image),
    ]
    limits = shell.Limits(memory_bytes=MEMORY_BYTES, file_bytes=image.stat().st_size)
    result = _run(argv, timeout_seconds, limits)
    if result.rc != 0:
        raise _explain("mke2fs", result, image.parent)


def _mke2fs_reads_tarballs() -> bool:
    if not ctypes.util.find_library("archive") and not _loads("libarchive.so.13"):
        return False
    version = re.search(
        r"mke2fs (\d+)\.(\d+)(?:\.(\d+))?", _run(["mke2fs", "-V"], 15, shell.Limits()).error_text
    )
    if version is None:
        return False
    return tuple(int(part or 0) for part in version.groups()) >= (1, 47, 1)


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _explain(program: str, result: shell.Result, directory: Path) -> DiskFull | TemplateUnusable:
    """The error for a program that failed while it wrote into this directory."""
    room = os.statvfs(directory)
    is_full = room.f_bavail * room.f_frsize < FULL_BYTES or (room.f_files > 0 and room.f_favail == 0)
    if is_full or FULL.search(result.error_text):
        return DiskFull("HOST_DISK_FULL")
    words = " ".join(result.error_text.split())[-200:] or _ending(result)
    return TemplateUnusable("FILE_SYSTEM_NOT_MADE", program=program, error=words)


def _ending(result: shell.Result) -> str:
    """How a program ended that printed nothing useful."""
    if result.rc < 0:
        return f"was ended by {signal.Signals(-result.rc).name}: it takes more than it may"
    return f"ended with {result.rc}"


def _run(argv: list[str], timeout_seconds: float, limits: shell.Limits) -> shell.Result:
    try:
        return shell.run_confined(argv, timeout_seconds=timeout_seconds, limits=limits)
    except shell.LimitReached as error:
        raise TemplateUnusable("IMAGE_HOSTILE", error=error) from error
    except shell.CommandTimedOut as error:
        raise DeadlinePassed("PROGRAM_TOO_SLOW", program=argv[0]) from error
    except FileNotFoundError as error:
        raise DiskFailed("PROGRAM_MISSING", program=error.filename) from error

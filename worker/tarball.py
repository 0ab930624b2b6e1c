"""Root tarballs, as OpenVZ and container templates are made: a look inside, then a file system.

Lives here: what a tarball may hold, and the two ways to an ext4 image without mounting anything:
mke2fs reads the tarball itself (e2fsprogs >= 1.47.1 with libarchive), or tar unpacks it into a
directory of root's own that mke2fs then copies. Which image it is for is `images`.
"""

import ctypes
import ctypes.util
import re
import shutil
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from worker import shell
from worker.errors import DeadlinePassed, DiskFailed, DiskFull, TemplateUnusable

#: what a hostile tarball may ask of the host at most
MAX_BYTES = 64 << 30
MAX_ENTRIES = 4_000_000


@dataclass(frozen=True)
class Contents:
    """What was found in a tarball."""

    bytes: int
    entries: int
    #: device nodes, all below dev/: a guest's kernel makes its own, so they are left out
    devices: tuple[str, ...]


def look(path: Path) -> Contents:
    """List a tarball. Raises TemplateUnusable for anything that could reach outside of the root."""
    links: set[str] = set()
    devices: list[str] = []
    size = count = 0
    try:
        with tarfile.open(path, "r:*") as archive:
            for member in archive:
                name = _check(member, links)
                if member.issym():
                    links.add(name)
                if member.isdev():
                    devices.append(member.name)
                size, count = size + member.size, count + 1
                if size > MAX_BYTES or count > MAX_ENTRIES:
                    raise _unusable(path, "it is too large")
                archive.members = []  # type: ignore[attr-defined]  # or a listing eats the host's memory
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise _unusable(path, f"it cannot be read: {error}") from error
    except _Hostile as error:
        raise _unusable(path, str(error)) from error
    if count == 0:
        raise _unusable(path, "it is empty")
    return Contents(size, count, tuple(devices))


class _Hostile(Exception):
    """An entry that could reach outside of the root."""


def _check(member: tarfile.TarInfo, links: set[str]) -> str:
    """The entry's name without a leading ./; raises _Hostile."""
    name = _inside(member.name, member.name)
    parts = name.split("/")
    for depth in range(1, len(parts)):
        if "/".join(parts[:depth]) in links:
            raise _Hostile(f"{name!r} would be written through a link")
    if name in links and not member.issym():
        raise _Hostile(f"{name!r} is a link and then something else")
    if member.islnk():
        _inside(member.linkname, member.name)
    if member.isdev() and not member.isfifo() and not re.match(r"(dev|lib/udev/devices)/", name):
        raise _Hostile(f"{name!r} is a device node outside of dev/")
    return name


def _inside(path: str, name: str) -> str:
    if path.startswith("/") or ".." in path.split("/") or "\0" in path or "\n" in path:
        raise _Hostile(f"{name[:200]!r} is or names a path outside of the root")
    return "/".join(part for part in path.split("/") if part not in ("", "."))


def _unusable(path: Path, why: str) -> TemplateUnusable:
    return TemplateUnusable(
        f"No machine can be made from the image {path.name}: {why}. Ask an administrator for another image."
    )


def write_filesystem(path: Path, image: Path, *, contents: Contents, timeout_seconds: float) -> None:
    """Make an ext4 file system with the tarball's content in the (sparse, empty) file `image`."""
    if not contents.devices and _mke2fs_reads_tarballs():
        _mke2fs(str(path), image, timeout_seconds)
        return
    # Not in /tmp: that may be small, or a memory file system. Mode 0700 keeps others off setuid files.
    with tempfile.TemporaryDirectory(prefix=".unpack-", dir=image.parent) as directory:
        root = Path(directory) / "root"
        root.mkdir(mode=0o755)
        _unpack(path, root, contents, timeout_seconds)
        _mke2fs(str(root), image, timeout_seconds)


def _unpack(path: Path, root: Path, contents: Contents, timeout_seconds: float) -> None:
    excludes = [f"--exclude={_literal(name)}" for name in contents.devices]
    argv = ["tar", "--anchored", *excludes, "--numeric-owner", "--same-owner", "-p", "--xattrs"]
    result = _run([*argv, "--xattrs-include=*", "-x", "-f", str(path), "-C", str(root)], timeout_seconds)
    if result.rc != 0:
        raise _explain("tar", result)


def _literal(name: str) -> str:
    return re.sub(r"([*?\[\\])", r"\\\1", name)


def _mke2fs(source: str, image: Path, timeout_seconds: float) -> None:
    # Small images too get 4 KiB blocks and 256-byte inodes, so that growing them later works well.
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
    result = _run(argv, timeout_seconds)
    if result.rc != 0:
        raise _explain("mke2fs", result)


def _mke2fs_reads_tarballs() -> bool:
    if not ctypes.util.find_library("archive") and not _loads("libarchive.so.13"):
        return False
    version = re.search(r"mke2fs (\d+)\.(\d+)(?:\.(\d+))?", _run(["mke2fs", "-V"], 15).error_text)
    if version is None:
        return False
    return tuple(int(part or 0) for part in version.groups()) >= (1, 47, 1)


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _explain(program: str, result: shell.Result) -> DiskFull | TemplateUnusable:
    words = " ".join(result.error_text.split())[-200:]
    if "No space left on device" in words:
        return DiskFull("The host's disk is full. Nothing was kept; ask an administrator to make room.")
    return TemplateUnusable(
        f"No file system could be made from the image ({program}: {words}). Ask an administrator."
    )


def _run(argv: list[str], timeout_seconds: float) -> shell.Result:
    if shutil.which(argv[0]) is None:
        raise DiskFailed(f"The host has no {argv[0]}. Ask an administrator to install it.")
    try:
        return shell.run(argv, timeout_seconds=timeout_seconds)
    except shell.CommandTimedOut as error:
        raise DeadlinePassed(f"{argv[0]} took too long. Try again when the host is less busy.") from error

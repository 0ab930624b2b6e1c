"""Templates: checks that they are present and as ordered, and makes file systems of them.

Digests are computed once and cached. Root tarballs become ext4 file systems, and file systems are grown to
the size of their disk. Nothing is ever mounted.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

from worker import shell
from worker.contract import MIB, ImageSpec
from worker.errors import DeadlinePassed, DiskFailed, TemplateDigest, TemplateMissing, TemplateUnusable
from worker.files import LockHeld, locked, write_durably
from worker.images import tarball

Progress = Callable[[float], None]

BLOCK_BYTES = 1 << 20
DIGESTS = ".digests.json"
BUILT = ".built"
#: locked while a file system is built
BUILDING = ".built.lock"
#: part of the name of a file system built from a tarball; increase it when the way it is built changes
BUILD_VERSION = 1
#: memory for e2fsck, which keeps maps of inodes and blocks: at most some 100 bytes per inode
CHECKER_BYTES = 4 << 30


def check(images_dir: Path, image: ImageSpec, *, on_progress: Progress) -> Path:
    """The template's path, after its digest was compared with the ordered one. Raises TemplateMissing,
    TemplateDigest.

    `on_progress` receives values from 0.0 to 1.0.
    """
    path = images_dir / image.file
    if not path.is_file():
        raise TemplateMissing("IMAGE_NOT_HERE", image=image.file)
    found = digest_of(images_dir, image.file, on_progress=on_progress)
    if found != image.sha256:
        raise TemplateDigest(
            "IMAGE_NOT_REGISTERED_ONE", image=image.file, found=found[:12], expected=image.sha256[:12]
        )
    return path


def digest_of(images_dir: Path, name: str, *, on_progress: Progress) -> str:
    """SHA-256 of a template in hexadecimal; computed only if the file's size, time or inode changed.

    Raises OSError.
    """
    path = images_dir / name
    key = _fingerprint(path)
    known = _read_digests(images_dir)
    if name in known and known[name][0] == key:
        return known[name][1]
    digest = _compute(path, on_progress)
    if _fingerprint(path) == key:
        known = {**_read_digests(images_dir), name: (key, digest)}
        write_durably(images_dir / DIGESTS, json.dumps(known, indent=1).encode())
    return digest


def known_digests(images_dir: Path) -> dict[str, str]:
    """Known digests by file name, of templates that have not changed since. Raises OSError."""
    return {
        name: digest
        for name, (key, digest) in _read_digests(images_dir).items()
        if (images_dir / name).is_file() and _fingerprint(images_dir / name) == key
    }


def unchecked(images_dir: Path) -> list[str]:
    """Names of the templates whose digest is not known. Raises OSError."""
    known = known_digests(images_dir)
    names = (entry.name for entry in os.scandir(images_dir) if entry.is_file(follow_symlinks=False))
    return sorted(name for name in names if not _is_no_image(name) and name not in known)


def _is_no_image(name: str) -> bool:
    return name.startswith(".") or name.endswith((".part", ".sha256"))


def _fingerprint(path: Path) -> str:
    facts = path.stat()
    return f"{facts.st_size}.{facts.st_mtime_ns}.{facts.st_ino}"


def _read_digests(images_dir: Path) -> dict[str, tuple[str, str]]:
    try:
        found = json.loads((images_dir / DIGESTS).read_bytes())
        return {str(name): (str(key), str(digest)) for name, (key, digest) in found.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, AttributeError):
        return {}  # computed again: an unreadable cache costs only time


def _compute(path: Path, on_progress: Progress) -> str:
    digest = hashlib.sha256()
    done, total = 0, path.stat().st_size or 1
    with path.open("rb", buffering=0) as source:
        while block := source.read(BLOCK_BYTES):
            digest.update(block)
            done += len(block)
            on_progress(done / total)
    return digest.hexdigest()


# --- from a root tarball to a file system ------------------------------------------------------


def filesystem_of(
    images_dir: Path, image: ImageSpec, *, timeout_seconds: float, on_progress: Progress
) -> Path:
    """Path of the ext4 file system made from a root tarball; made once and kept beside the images.

    Raises DeadlinePassed, TemplateUnusable, DiskFull, DiskFailed. `on_progress` receives values from 0.0 to
    1.0.
    """
    built = images_dir / BUILT / f"{image.sha256}-{BUILD_VERSION}.ext4"
    if built.exists():
        return built
    built.parent.mkdir(mode=0o700, exist_ok=True)
    began = time.monotonic()
    try:
        # One build at a time: two builds of the same image would write the same file.
        with locked(images_dir / BUILDING, wait_seconds=timeout_seconds):
            if not built.exists():
                _remove_left(built.parent)
                timeout_seconds -= time.monotonic() - began
                _build(images_dir / image.file, built, timeout_seconds, on_progress)
    except LockHeld:
        raise DeadlinePassed("IMAGE_BUILD_BUSY") from None
    on_progress(1.0)
    return built


def _remove_left(directory: Path) -> None:
    """Remove what killed workers had begun. The lock is held, so no build is running."""
    for path in directory.glob("*.draft"):
        path.unlink(missing_ok=True)
    for path in directory.glob(f"{tarball.UNPACKED}*"):
        shutil.rmtree(path, ignore_errors=True)


def _build(source: Path, built: Path, timeout_seconds: float, on_progress: Progress) -> None:
    began = time.monotonic()
    contents = tarball.look(source, timeout_seconds=timeout_seconds)
    timeout_seconds -= time.monotonic() - began
    on_progress(0.2)
    # The file system is just large enough for its content; each machine's copy is grown to its own size.
    size = contents.bytes + contents.entries * 4096 + contents.bytes // 8 + 48 * MIB
    # a unique name: a program started by a killed worker may still be writing
    draft = built.with_suffix(f".{uuid4().hex[:8]}.draft")
    try:
        with draft.open("wb") as out:
            out.truncate(-(-size // MIB) * MIB)
        tarball.write_filesystem(source, draft, contents=contents, timeout_seconds=timeout_seconds)
        draft.replace(built)
    finally:
        draft.unlink(missing_ok=True)


# --- growing -----------------------------------------------------------------------------------


def grow_filesystem(disk: Path, *, template: Path, timeout_seconds: float) -> None:
    """Grow the ext4 file system on a new copy to the size of its disk.

    Raises TemplateUnusable, DiskFailed, DeadlinePassed.
    """
    if _size(disk) == template.stat().st_size:
        return
    limits = shell.Limits(memory_bytes=CHECKER_BYTES, file_bytes=_size(disk))
    result = _run(["resize2fs", str(disk)], timeout_seconds, limits)
    if result.rc != 0:
        # resize2fs refuses a file system that was mounted until it has been checked.
        checked = _run(["e2fsck", "-f", "-y", str(disk)], timeout_seconds, limits)
        if checked.rc > 1:  # 1: errors were corrected
            words = " ".join((checked.error_text or checked.text).split())[-200:]
            raise TemplateUnusable("IMAGE_FILE_SYSTEM_BROKEN", error=words)
        result = _run(["resize2fs", str(disk)], timeout_seconds, limits)
    if result.rc != 0:
        words = " ".join(result.error_text.split())[-200:]
        raise DiskFailed("FILE_SYSTEM_NOT_GROWN", error=words)


def _size(disk: Path) -> int:
    with disk.open("rb") as file:
        return file.seek(0, os.SEEK_END)


def _run(argv: list[str], timeout_seconds: float, limits: shell.Limits) -> shell.Result:
    try:
        return shell.run_confined(argv, timeout_seconds=timeout_seconds, limits=limits)
    except shell.LimitReached as error:
        raise TemplateUnusable("IMAGE_FILE_SYSTEM_BROKEN", error=error) from error
    except shell.CommandTimedOut as error:
        raise DeadlinePassed("PROGRAM_TOO_SLOW", program=argv[0]) from error
    except FileNotFoundError as error:
        raise DiskFailed("PROGRAM_MISSING", program=error.filename) from error

"""Temporary folders for the files of other programs, and removal of those that killed workers left.

They are in TMPDIR, which several workers of a developer's machine may share.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def made(prefix: str) -> Iterator[Path]:
    """Yield an empty folder of mode 0700 that is locked while it is in use, and remove it afterwards."""
    path, descriptor = _make(prefix)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(descriptor)


def remove_left(prefix: str) -> list[Path]:
    """Remove the unlocked folders with this prefix: their processes were killed. Returns those removed."""
    removed = []
    for path in sorted(Path(tempfile.gettempdir()).glob(f"{prefix}*")):
        try:
            descriptor = os.open(path, FLAGS)
        except OSError:
            continue  # a link or a file of another account, or removed meanwhile
        try:
            if os.fstat(descriptor).st_uid == os.geteuid() and _lock(descriptor):
                shutil.rmtree(path, ignore_errors=True)
                removed.append(path)
        finally:
            os.close(descriptor)
    return removed


def _make(prefix: str) -> tuple[Path, int]:
    while True:
        path = Path(tempfile.mkdtemp(prefix=prefix))
        try:
            descriptor = os.open(path, FLAGS)
        except FileNotFoundError:
            continue
        # before it was locked, another worker may have taken it for a left-over
        if _lock(descriptor) and path.exists():
            return path, descriptor
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

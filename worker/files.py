"""Atomic file replacement with fsync, reading of bounded files, and one lock per machine."""

import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from worker import failpoints


def write_durably(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Replace a file so that a crash leaves the old or the new content. Raises OSError."""
    partial = path.with_name(f".{path.name}.new")
    # O_NOFOLLOW: an account that may write in this folder must not choose which file root writes.
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(partial, flags, mode)
    try:
        with os.fdopen(descriptor, "wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        failpoints.reach("before a file is renamed")
        partial.replace(path)
        failpoints.reach("after a file is renamed")
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def write_plain(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Write a file in place, not through a link; after a crash its content is undefined. Raises OSError."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, mode), "wb") as out:
        os.fchmod(out.fileno(), mode)
        out.write(content)


def open_plain(path: Path) -> BinaryIO:
    """Open a regular file for reading, without following a link or waiting for a writer.

    Raises OSError (ELOOP for a link), FileNotFoundError, and ValueError for anything but a regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ValueError(f"{path} is not a regular file")
    return os.fdopen(descriptor, "rb")


def read_bounded(path: Path, most_bytes: int) -> bytes:
    """The whole content of a small regular file. Raises what `open_plain` does, and ValueError if larger."""
    with open_plain(path) as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise ValueError(f"{path} is larger than {most_bytes} bytes")
    return content


def sync_directory(path: Path) -> None:
    """Make created, renamed and removed names in a directory durable. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class LockHeld(Exception):
    """Another thread or process holds the lock."""


@contextmanager
def locked(path: Path, *, wait_seconds: float = 0.0) -> Iterator[None]:
    """Hold the lock at `path`, which is released when the process dies. Raises LockHeld and OSError."""
    until = time.monotonic() + wait_seconds
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            _take(descriptor, path, until)
            if not _is_at(descriptor, path):
                continue  # removed meanwhile: two processes would hold "the same" lock on two files
            yield
            return
        finally:
            os.close(descriptor)


def remove_lock(path: Path) -> bool:
    """Remove the lock's file. Returns False while the lock is held."""
    try:
        with locked(path):
            path.unlink()
    except LockHeld:
        return False
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _take(descriptor: int, path: Path, until: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                raise LockHeld(str(path)) from None
            time.sleep(0.05)
        else:
            return


def write_all(fd: int, data: bytes, offset: int | None = None) -> None:
    """Write all of it: at this place, or where the file stands. Raises OSError."""
    view = memoryview(data)
    while view:
        written = os.write(fd, view) if offset is None else os.pwrite(fd, view, offset)
        view, offset = view[written:], None if offset is None else offset + written

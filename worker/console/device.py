"""A domain's console device: opened in raw mode, locked against `xl console`, with non-blocking reads and
writes.
"""

import asyncio
import contextlib
import fcntl
import os
import re
import termios
import tty
from collections.abc import Callable
from pathlib import Path

DEVICE = re.compile(r"/dev/pts/\d+")
READ_BYTES = 4096
#: most bytes read from one console per turn of the event loop, so that one console cannot starve the others
TURN_BYTES = 128 << 10
#: pending typed bytes at which the guest counts as full and no more are accepted
FULL_BYTES = 16 << 10


class ConsoleBusy(Exception):
    """The console cannot be opened now; the text says why."""


class Pty:
    """An open console.

    `on_bytes` receives what the guest prints, `on_drain` is called when it takes input again, and `on_end`
    once, when the console has gone.
    """

    def __init__(
        self,
        fd: int,
        lock: "ConsoleLock | None",
        *,
        on_bytes: Callable[[bytes], None],
        on_drain: Callable[[], None],
        on_end: Callable[[], None],
    ) -> None:
        self._fd, self._lock = fd, lock
        self._on_bytes, self._on_drain, self._on_end = on_bytes, on_drain, on_end
        self._pending = bytearray()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(fd, self._read)

    @property
    def is_full(self) -> bool:
        """Whether the guest takes no more input for now."""
        return len(self._pending) >= FULL_BYTES

    def write(self, data: bytes) -> None:
        """Type at the guest. What it does not take at once is kept. Do not write while `is_full`."""
        was_idle = not self._pending
        self._pending += data
        if was_idle:
            self._flush()

    def close(self) -> None:
        if self._fd < 0:
            return
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        os.close(self._fd)
        self._fd = -1
        if self._lock is not None:
            self._lock.release()

    def _read(self) -> None:
        pieces: list[bytes] = []
        size, is_over = 0, False
        while size < TURN_BYTES:
            try:
                piece = os.read(self._fd, READ_BYTES)
            except BlockingIOError:
                break
            except OSError:  # EIO: the other end is closed, the domain has gone
                is_over = True
                break
            if not piece:
                is_over = True
                break
            pieces.append(piece)
            size += len(piece)
        if pieces:
            self._on_bytes(b"".join(pieces))
        if is_over:
            self.close()
            self._on_end()

    def _flush(self) -> None:
        was_full = self.is_full
        try:
            while self._pending:
                del self._pending[: os.write(self._fd, self._pending)]
        except BlockingIOError:
            self._loop.add_writer(self._fd, self._flush)
        except OSError:
            self._pending.clear()  # the reader gets the same error and ends the console
        if not self._pending:
            self._loop.remove_writer(self._fd)
        if was_full and not self.is_full:
            self._on_drain()


class ConsoleLock:
    """The lock file of `xl console`, so that an administrator's session and this process never share the
    bytes.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        # The folder is writable by everybody, so a link that somebody put there is not followed.
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self._fd = os.open(path, flags, 0o600)
        except OSError as error:
            raise ConsoleBusy(f"the lock {path} cannot be opened: {os.strerror(error.errno or 0)}") from None
        if not self._take():
            os.close(self._fd)
            raise ConsoleBusy("somebody has xl console open")

    def _take(self) -> bool:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # xl removes the file when it releases the lock: the locked file must still be the one others
            # would open
            return os.fstat(self._fd).st_ino == self._path.stat().st_ino
        except OSError:
            return False

    def release(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        os.close(self._fd)


def open_pty(
    device: str,
    *,
    lock_path: Path | None,
    on_bytes: Callable[[bytes], None],
    on_drain: Callable[[], None],
    on_end: Callable[[], None],
) -> Pty:
    """Open a console device. Raises ConsoleBusy."""
    if not DEVICE.fullmatch(device):
        raise ConsoleBusy("the domain's console is not a pseudo-terminal")
    lock = ConsoleLock(lock_path) if lock_path is not None else None
    try:
        fd = os.open(device, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if lock is not None:
            lock.release()
        raise ConsoleBusy(f"the console cannot be opened: {os.strerror(error.errno or 0)}") from None
    _make_raw(fd)
    return Pty(fd, lock, on_bytes=on_bytes, on_drain=on_drain, on_end=on_end)


def _make_raw(fd: int) -> None:
    """Set raw mode. xenconsoled does so itself, so the terminal is changed only if it is not raw."""
    with contextlib.suppress(termios.error):
        if termios.tcgetattr(fd)[3] & (termios.ICANON | termios.ECHO):
            tty.setraw(fd, termios.TCSANOW)

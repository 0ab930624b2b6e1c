"""One machine's console on disk: its last bytes, and the number of bytes before them.

Offsets count bytes since the machine's first boot and only grow, across reboots and restarts of the console
service.
"""

import contextlib
import json
import os
from pathlib import Path

from worker.files import write_all

#: a log that has grown to `most` bytes is cut to its last `keep` bytes
MOST_BYTES = 4 << 20
KEEP_BYTES = 2 << 20


class ConsoleLog:
    """Bytes `start` to `end` of a console, in `<machine>.log`.

    The offset at which the file begins is kept in `<machine>.start.json`, by inode. The file is cut by
    renaming a shorter one over it; the entry of the new inode is written first, so that it is there whenever
    the process is killed.
    """

    def __init__(
        self, directory: Path, machine_id: str, *, most: int = MOST_BYTES, keep: int = KEEP_BYTES
    ) -> None:
        self.machine_id = machine_id
        self.path = directory / f"{machine_id}.log"
        self._starts_path = directory / f"{machine_id}.start.json"
        self._most, self._keep = most, keep
        self._fd = self._open(self.path)
        status = os.fstat(self._fd)
        self._inode = status.st_ino
        self.start = self._starts().get(str(self._inode), 0)
        self.end = self.start + status.st_size
        self._found_end: int | None = self.end

    def append(self, data: bytes) -> None:
        """Add to the end. On a full disk old bytes are dropped and, if that is not enough, new ones too."""
        upto = self.end + len(data)
        if upto - self.start > self._most:
            self._cut(keep=self._keep)
        try:
            write_all(self._fd, data)
        except OSError:
            self._lose(upto)
        self.end = upto

    def read(self, offset: int, most: int) -> bytes:
        """Up to `most` bytes from `offset`, which must not be below `start`."""
        return os.pread(self._fd, max(0, min(most, self.end - offset)), offset - self.start)

    def count_on_from(self, shown: int) -> None:
        """Continue the offsets after `shown`, up to which readers have seen the console.

        If that is more than was found here at the start, a log was lost. What was printed since is placed
        after it, so that offsets never decrease.
        """
        found, self._found_end = self._found_end, None
        ahead = shown - (self.end if found is None else found)
        if ahead > 0:
            self.end += ahead
            self._save_start(self.start + ahead)

    def close(self) -> None:
        os.close(self._fd)

    @staticmethod
    def _open(path: Path) -> int:
        return os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)

    def _lose(self, upto: int) -> None:
        """The disk is full: drop the content of the log and count the bytes that could not be stored."""
        with contextlib.suppress(OSError):
            os.ftruncate(self._fd, 0)
            self._save_start(upto)

    def _cut(self, *, keep: int) -> None:
        tail = self.read(max(self.start, self.end - keep), keep)
        short = self.path.with_suffix(".log.new")
        with contextlib.suppress(OSError):
            with contextlib.suppress(FileNotFoundError):
                short.unlink()
            fd = self._open(short)
            try:
                write_all(fd, tail)
                inode = os.fstat(fd).st_ino
                start = self.end - len(tail)
                self._save({str(self._inode): self.start, str(inode): start})
                short.rename(self.path)
            except OSError:
                os.close(fd)
                raise
            os.close(self._fd)
            self._fd, self._inode, self.start = fd, inode, start

    def _starts(self) -> dict[str, int]:
        try:
            found = json.loads(self._starts_path.read_bytes())
        except (FileNotFoundError, ValueError):
            return {}
        return {str(key): int(value) for key, value in found.items()} if isinstance(found, dict) else {}

    def _save_start(self, start: int) -> None:
        self.start = start
        self._save({str(self._inode): start})

    def _save(self, starts: dict[str, int]) -> None:
        fresh = self._starts_path.with_suffix(".new")
        fresh.write_text(json.dumps(starts))
        fresh.replace(self._starts_path)

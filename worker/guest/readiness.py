"""How far a guest has booted, seen on its console: kernel, init, login prompt.

Lives here: following the log that consoled writes, the patterns, and the last lines for an error
report. The domain itself is only looked at when its console has gone silent.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from worker import contract
from worker.files import open_plain

PHASES: tuple[tuple[str, re.Pattern[bytes]], ...] = (
    ("KERNEL", re.compile(rb"Linux version|\[ +0\.\d")),
    ("INIT", re.compile(rb"Run /|init:|systemd|Welcome|Booting")),
    ("LOGIN", re.compile(rb"(?<!Last )\blogin:")),
)
#: a phase seen proves those before it, even where a quiet kernel says nothing
ORDER = ("KERNEL", "INIT", "LOGIN")
POLL_SECONDS = 0.25
SILENCE_SECONDS = 5.0
LOOK_EVERY_SECONDS = 10.0
#: as much of the log as can hold one pattern cut in two
OVERLAP_BYTES = 64
#: a spinner that turned for ten minutes is not all that is read
TAIL_BYTES = 1 << 20


def size_of(log: Path) -> int:
    """How many bytes the log has now: a boot that begins now is written after them."""
    try:
        return log.stat().st_size
    except FileNotFoundError:
        return 0


@dataclass
class Watch:
    """Follows one boot in a log from an offset on."""

    log: Path
    offset: int
    seen: list[str] = field(default_factory=list)
    heard_at: float = field(default_factory=time.monotonic)
    _rest: bytes = b""

    def read(self) -> list[str]:
        """The phases that showed since the last call, in order."""
        news = self._read_bytes()
        if not news:
            return []
        self.heard_at = time.monotonic()
        text = self._rest + news
        self._rest = text[-OVERLAP_BYTES:]
        found = []
        for name, pattern in PHASES:
            if name not in self.seen and pattern.search(text):
                found = [phase for phase in ORDER[: ORDER.index(name) + 1] if phase not in self.seen]
        self.seen.extend(found)
        return found

    def _read_bytes(self) -> bytes:
        size = size_of(self.log)
        if size == self.offset:  # asked often, on a processor that the guest needs for its boot
            return b""
        if size < self.offset:  # begun anew: consoled keeps the log from growing for ever
            self.offset = 0
        try:
            with open_plain(self.log) as log:
                log.seek(self.offset)
                news = log.read(1 << 20)
        except (OSError, ValueError):
            return b""
        self.offset += len(news)
        return news


def wait_for_login(
    watch: Watch,
    *,
    until: float,
    on_phase: Callable[[str], None],
    is_alive: Callable[[], bool],
    on_look: Callable[[], None],
) -> bool:
    """Wait for the login prompt. False: not until then, or the domain is gone (`is_alive` is False).

    `on_look` is called all the time and may raise, to end the waiting.
    """
    looked_at = time.monotonic()
    while True:
        on_look()
        for phase in watch.read():
            on_phase(phase)
        if "LOGIN" in watch.seen:
            return True
        now = time.monotonic()
        if now > until:
            return False
        if now - watch.heard_at > SILENCE_SECONDS and now - looked_at > LOOK_EVERY_SECONDS:
            looked_at = now
            if not is_alive():
                # Its last words may have arrived while we looked.
                return _heard_login(watch, on_phase)
        time.sleep(POLL_SECONDS)


def _heard_login(watch: Watch, on_phase: Callable[[str], None]) -> bool:
    for phase in watch.read():
        on_phase(phase)
    return "LOGIN" in watch.seen


def tail(log: Path, *, start: int) -> str:
    """The last console lines of a boot, without escape sequences and control characters."""
    try:
        # Not through a link: consoled may write here and must not have this read another file to the owner.
        with open_plain(log) as file:
            size = file.seek(0, 2)
            begin = start if start <= size else 0
            file.seek(max(begin, size - TAIL_BYTES))
            raw = file.read(TAIL_BYTES)
    except (OSError, ValueError):
        return ""
    return contract.readable_console(raw.decode("utf-8", "replace"))

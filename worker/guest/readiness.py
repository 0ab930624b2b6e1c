"""Watches a guest's boot on its console: kernel, init, login prompt.

Follows the log that consoled writes, and extracts the last lines for a report. The list of domains is read
only when the console is silent.
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
#: a phase implies those before it, even if a quiet kernel prints nothing
ORDER = ("KERNEL", "INIT", "LOGIN")
POLL_SECONDS = 0.25
SILENCE_SECONDS = 5.0
LOOK_EVERY_SECONDS = 10.0
#: bytes of the log kept to match a pattern that was cut in two
OVERLAP_BYTES = 64
#: most bytes of the log read for the last lines, which may follow minutes of a spinner
TAIL_BYTES = 1 << 20


def size_of(log: Path) -> int:
    """Size of the log in bytes, 0 if it is missing: a boot that begins now is written after it."""
    try:
        return log.stat().st_size
    except FileNotFoundError:
        return 0


@dataclass
class Watch:
    """Follows one boot in a log from an offset."""

    log: Path
    offset: int
    seen: list[str] = field(default_factory=list)
    heard_at: float = field(default_factory=time.monotonic)
    _rest: bytes = b""

    def read(self) -> list[str]:
        """The phases seen since the last call, in order."""
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
        if size == self.offset:  # called often, on a processor that the guest needs for its boot
            return b""
        if size < self.offset:  # consoled has replaced the log by a shorter one
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
    """Wait for the login prompt. Returns False if it does not come until `until` (monotonic) or the domain
    ends.

    `is_alive` returns whether the domain runs. `on_look` is called continuously and may raise to end the
    wait.
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
                # The last lines may have arrived meanwhile.
                return _heard_login(watch, on_phase)
        time.sleep(POLL_SECONDS)


def _heard_login(watch: Watch, on_phase: Callable[[str], None]) -> bool:
    for phase in watch.read():
        on_phase(phase)
    return "LOGIN" in watch.seen


def tail(log: Path, *, start: int) -> str:
    """The last console lines of a boot, without escape sequences and control characters; "" if unreadable."""
    try:
        # Without following a link: consoled may write here, and another file must not be shown to the owner.
        with open_plain(log) as file:
            size = file.seek(0, 2)
            begin = start if start <= size else 0
            file.seek(max(begin, size - TAIL_BYTES))
            raw = file.read(TAIL_BYTES)
    except (OSError, ValueError):
        return ""
    return contract.readable_console(raw.decode("utf-8", "replace"))

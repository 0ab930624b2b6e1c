"""The guest in a stand-in domain: a boot log, a login prompt, a small shell. Pure: bytes and times.

The pty, the clock and the end of the domain are in `devtools.fakexl.domain`.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from devtools.fakexl import commands

End = Literal["", "poweroff", "reboot", "crash"]

BOOT_LOG = (
    "Linux version 6.12.117+deb13-amd64 (debian-kernel@lists.debian.org) (x86_64-linux-gnu-gcc-14) #1 SMP",
    "Command line: {cmdline}",
    "Hypervisor detected: {hypervisor}",
    "Xen version: 4.20.",
    "Memory: {memory}K/{memory}K available",
    "smp: Brought up 1 node, {vcpus} CPUs",
    "xen:balloon: Initialising balloon driver",
    "xen:events: Using FIFO-based ABI",
    "printk: legacy console [hvc0] enabled",
    "blkfront: {vdev}: flush diskcache: enabled; persistent grants: enabled",
    "xen_netfront: Initialising Xen virtual ethernet driver",
    "EXT4-fs ({vdev}): mounted filesystem r/w with ordered data mode. Quota mode: none.",
    "Run /sbin/init as init process",
)
PANIC = "Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(202,0)"
MOTD = "\r\n\r\nBusyBox v1.35.0 built-in shell (ash)\r\nEnter 'help' for a list of built-in commands.\r\n\r\n"
MAX_LINE = 4096


class Guest:
    """One run of a guest, from its first console line to its end."""

    def __init__(
        self,
        *,
        facts: Mapping[str, Any],
        hostname: str,
        boot_seconds: float,
        shutdown_seconds: float,
        faults: Mapping[str, Any],
        now: float,
    ) -> None:
        self.facts = facts
        self.hostname = hostname
        self.shutdown_seconds = shutdown_seconds
        self.end: End = ""
        self.flood: Iterator[bytes] | None = None
        self._mode: Literal["BOOT", "LOGIN", "PASSWORD", "SHELL", "DOWN"] = "BOOT"
        self._line = bytearray()
        self._planned: list[tuple[float, bytes, End]] = []
        self._born_at = now
        if facts.get("is_moved"):
            self._mode = "LOGIN"  # it continues where it was: no boot and no output
        else:
            self._plan_boot(boot_seconds, faults)

    def next_at(self) -> float | None:
        """When the guest prints something by itself next; None if it waits for input."""
        return self._planned[0][0] if self._planned else None

    def due(self, now: float) -> bytes:
        """What the guest has printed by now."""
        said = bytearray()
        while self._planned and self._planned[0][0] <= now:
            _, text, end = self._planned.pop(0)
            said += text
            if end:
                self.end = end
            if text.endswith(b"login: "):
                self._mode = "LOGIN"
        return bytes(said)

    def request(self, wish: Literal["poweroff", "reboot"], now: float, *, is_ignored: bool = False) -> None:
        """Handle a request in xenstore's control/shutdown."""
        if not is_ignored and self._mode != "DOWN":
            self._go_down(wish, now)

    def feed(self, data: bytes, now: float) -> bytes:
        """Handle typed bytes. Returns the echo and the output."""
        said = bytearray()
        for byte in data:
            said += self._take(byte, now)
        return bytes(said)

    def pull(self, most: int) -> bytes:
        """Up to about `most` bytes of a running command's output, and the prompt at its end."""
        said = bytearray()
        while self.flood is not None and len(said) < most:
            piece = next(self.flood, None)
            if piece is None:
                self.flood = None
                said += self._prompt()
            else:
                said += piece
        return bytes(said)

    # the tty

    def _take(self, byte: int, now: float) -> bytes:
        if self._mode in {"BOOT", "DOWN"}:
            return b""
        if byte == 3:
            self.flood = None
            self._line.clear()
            return b"^C\r\n" + self._prompt()
        if self.flood is not None:
            return b""
        if byte in {10, 13}:
            line = self._line.decode("utf-8", "replace")
            self._line.clear()
            return b"\r\n" + self._enter(line, now)
        return self._edit(byte)

    def _edit(self, byte: int) -> bytes:
        if byte == 4 and not self._line and self._mode == "SHELL":
            return b"\r\n" + self._log_out()
        if byte in {8, 127}:
            if not self._line:
                return b""
            while self._line and self._line.pop() & 0xC0 == 0x80:
                pass
            return b"" if self._mode == "PASSWORD" else b"\b \b"
        if byte < 32 or len(self._line) >= MAX_LINE:
            return b""
        self._line.append(byte)
        return b"" if self._mode == "PASSWORD" else bytes([byte])

    def _enter(self, line: str, now: float) -> bytes:
        if self._mode == "LOGIN":
            return self._log_in(line.strip())
        if self._mode == "PASSWORD":
            self._mode = "LOGIN"
            return b"\r\nLogin incorrect\r\n" + self._prompt()
        return self._run(line, now)

    def _log_in(self, name: str) -> bytes:
        if not name:
            return self._prompt()
        if name != "root":
            self._mode = "PASSWORD"
            return self._prompt()
        self._mode = "SHELL"
        return b"login[171]: root login on 'hvc0'\r\n" + MOTD.encode() + self._prompt()

    def _log_out(self) -> bytes:
        self._mode = "LOGIN"
        return b"\r\n" + self._prompt()

    def _prompt(self) -> bytes:
        if self._mode == "LOGIN":
            return f"{self.hostname} login: ".encode()
        return b"Password: " if self._mode == "PASSWORD" else f"root@{self.hostname}:~# ".encode()

    # the shell

    def _run(self, line: str, now: float) -> bytes:
        said = bytearray()
        for command in re.split(r"&&|;", line):
            words = commands.words_of(command)
            if not words:
                continue
            if words[0] in {"exit", "logout"}:
                return bytes(said) + self._log_out()
            if words[0] in {"poweroff", "halt", "reboot"}:
                self._go_down("reboot" if words[0] == "reboot" else "poweroff", now)
                return bytes(said)
            if words[0] == "crash":
                self._crash(now)
                return bytes(said)
            answer = commands.answer(words, self.hostname, self.facts, now - self._born_at)
            if not isinstance(answer, bytes):
                self.flood = answer
                return bytes(said)
            said += answer
        return bytes(said) + self._prompt()

    # boot and shutdown

    def _plan_boot(self, seconds: float, faults: Mapping[str, Any]) -> None:
        if faults.get("silent"):
            return
        lines = [line.format(**self.facts) for line in BOOT_LOG]
        if faults.get("panic"):
            lines = [*lines[:-2], PANIC]
        for index, line in enumerate(lines):
            at = seconds * index / len(lines)
            stamp = "    0.000000" if index == 0 else f"{at:12.6f}"
            self._planned.append((self._born_at + at, f"[{stamp}] {line}\r\n".encode(), ""))
        done = self._born_at + seconds
        if faults.get("panic"):
            self._planned.append((done, b"", "crash"))
        elif not faults.get("no_login"):
            prompt = f"\r\nDebian GNU/Linux 13 {self.hostname} hvc0\r\n\r\n{self.hostname} login: "
            self._planned.append((done, prompt.encode(), ""))

    def _go_down(self, wish: Literal["poweroff", "reboot"], now: float) -> None:
        self._mode, self.flood = "DOWN", None
        last = "reboot: Restarting system" if wish == "reboot" else "reboot: Power down"
        words = f"\r\nThe system is going down NOW!\r\nRequesting system {wish}\r\n"
        done = now + self.shutdown_seconds
        self._planned = [
            (now, words.encode(), ""),
            (done, f"[{done - self._born_at:12.6f}] {last}\r\n".encode(), wish),
        ]

    def _crash(self, now: float) -> None:
        self._mode, self.flood = "DOWN", None
        words = f"[{now - self._born_at:12.6f}] Kernel panic - not syncing: sysrq triggered crash\r\n"
        self._planned = [(now, words.encode(), "crash")]

"""The xl process that waits for a domain's end: it starts the domain again when its guest reboots.

Lives here: finding that process, and ending one that does not go. `xl create` leaves it behind under its
own command line. When a guest reboots, it destroys the ended domain, sleeps two seconds, and makes the next
one (xl_vmcontrol.c, create_domain): in between no domain is listed, and yet the machine is not off.
"""

import os
import signal
from pathlib import Path

PROC = Path("/proc")


def find(config: Path) -> int | None:
    """Pid of what made a domain of this configuration and may make the next; None: nobody will."""
    for entry in PROC.iterdir():
        if entry.name.isdigit() and _is_watcher(int(entry.name), config):
            return int(entry.name)
    return None


def _is_watcher(pid: int, config: Path) -> bool:
    """Was it started as `xl create … <config>`? The machine's id is in the path: it is nobody else's."""
    try:
        words = (PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return b"create" in words and os.fsencode(config) in words


def end(pid: int, config: Path) -> None:
    """End it, unless it went by itself. What it was making is left on the list, half made."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        # looked at again through what holds it: the pid may have become another's
        if _is_watcher(pid, config):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        os.close(descriptor)

"""The xl process that waits for a domain's end: it starts the domain again when its guest reboots.

Lives here: finding that process, and ending one that does not go. `xl create` leaves it behind under its
own command line. When a guest reboots, it destroys the ended domain, sleeps two seconds, and makes the next
one (xl_vmcontrol.c, create_domain): in between no domain is listed, and yet the machine is not off.
"""

import os
import signal
from pathlib import Path

PROC = "/proc"
LONGEST_BYTES = 4096


def find(config: Path) -> int | None:
    """Pid of what made a domain of this configuration and may make the next; None: nobody will."""
    wanted = os.fsencode(config)
    # Plain calls: this is asked at every look, on hosts with hundreds of processes.
    for name in os.listdir(PROC):  # noqa: PTH208
        if name.isdigit() and _is_watcher(name, wanted):
            return int(name)
    return None


def _is_watcher(pid: str, config: bytes) -> bool:
    """Was it started as `xl create … <config>`? The machine's id is in the path: it is nobody else's."""
    try:
        descriptor = os.open(f"{PROC}/{pid}/cmdline", os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        words = os.read(descriptor, LONGEST_BYTES)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return config in words and {b"create", config} <= set(words.split(b"\0"))


def end(pid: int, config: Path) -> None:
    """End it, unless it went by itself. What it was making is left on the list, half made."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        # looked at again through what holds it: the pid may have become another's
        if _is_watcher(str(pid), os.fsencode(config)):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        os.close(descriptor)

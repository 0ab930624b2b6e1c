"""The xl process that waits for a domain's end: it starts the domain again when its guest reboots.

Lives here: finding that process, and ending one that does not go. `xl create` leaves it behind under its
own command line; `xl migrate-receive` and `xl restore` do so too, and as theirs names no machine, they are
marked when they are started. When a guest reboots, it destroys the ended domain, sleeps two seconds, and
makes the next one (xl_vmcontrol.c, create_domain): in between no domain is listed, and yet the machine is
not off.
"""

import os
import signal
from pathlib import Path

PROC = "/proc"
LONGEST_BYTES = 4096
#: in the environment of an xl that takes a domain in: whose configuration is this
MARK = "XL_TAKES_IN"
TAKING_IN = {b"migrate-receive", b"restore"}


def mark(config: Path) -> dict[str, str]:
    """What an xl that takes a domain in is to have in its environment, to be found by."""
    return {MARK: str(config)}


def find(config: Path) -> int | None:
    """Pid of what made a domain of this configuration and may make the next; None: nobody will."""
    wanted = os.fsencode(config)
    # Plain calls: this is asked at every look, on hosts with hundreds of processes.
    for name in os.listdir(PROC):  # noqa: PTH208
        if name.isdigit() and _is_watcher(name, wanted):
            return int(name)
    return None


def _is_watcher(pid: str, config: bytes) -> bool:
    """Was it started as `xl create … <config>`? The machine's id is in the path: it is nobody else's.

    Or did it take the domain in: then the path is in its environment.
    """
    words = set(_read(pid, "cmdline").split(b"\0"))
    if config in words:
        return b"create" in words
    return not words.isdisjoint(TAKING_IN) and f"{MARK}=".encode() + config in _read(pid, "environ").split(
        b"\0"
    )


def _read(pid: str, name: str) -> bytes:
    try:
        descriptor = os.open(f"{PROC}/{pid}/{name}", os.O_RDONLY)
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return b""  # it is gone (environ says that in its own way), or another account's and so no xl of ours
    try:
        return os.read(descriptor, LONGEST_BYTES)
    except ProcessLookupError:
        return b""
    finally:
        os.close(descriptor)


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

"""Finds the xl process that waits for a domain's end and starts the domain again when its guest reboots.

`xl create` leaves it behind under its own command line. `xl migrate-receive` and `xl restore` do so too;
their command line does not name the machine, so they are marked in their environment. When a guest reboots,
the process destroys the ended domain, sleeps two seconds and creates the next one (xl_vmcontrol.c,
create_domain). In between no domain is listed although the machine is not off.
"""

import os
import signal
from pathlib import Path

PROC = "/proc"
LONGEST_BYTES = 4096
#: in the environment of an xl that receives a domain: path of the machine's configuration
MARK = "XL_TAKES_IN"
TAKING_IN = {b"migrate-receive", b"restore"}


def mark(config: Path) -> dict[str, str]:
    """Environment variables for an xl that receives a domain, by which `find` recognizes it."""
    return {MARK: str(config)}


def find(config: Path) -> int | None:
    """Pid of the xl process that may restart the domain of this configuration; None if there is none."""
    wanted = os.fsencode(config)
    # os.listdir and not pathlib: this is called often, on hosts with hundreds of processes.
    for name in os.listdir(PROC):  # noqa: PTH208
        if name.isdigit() and _is_watcher(name, wanted):
            return int(name)
    return None


def _is_watcher(pid: str, config: bytes) -> bool:
    """Whether the process runs `xl create … <config>` or has received the domain.

    The path of the configuration contains the machine's id, so it matches no other machine. An xl that has
    received the domain has the path in its environment.
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
        return b""  # it has ended, or belongs to another account and is not the worker's xl
    try:
        return os.read(descriptor, LONGEST_BYTES)
    except ProcessLookupError:
        return b""
    finally:
        os.close(descriptor)


def end(pid: int, config: Path) -> None:
    """Kill the process unless it has ended. A domain that it was creating stays in the list, half made."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        # checked again through the pidfd: the pid may have been reused
        if _is_watcher(str(pid), os.fsencode(config)):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        os.close(descriptor)

"""Run other programs: argument list, time limit, no shell. The portal starts programs only here.

Only the end of the output is kept, so that a program without end of output uses no memory.
"""

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass

#: bytes of the end of the output that are kept
KEPT = 4096
#: nothing of the portal's own environment is passed on
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
#: maximum wait between checks for a process that left its output open
LOOK_EVERY_SECONDS = 0.2


@dataclass(frozen=True)
class Ended:
    """Result of a program; `exit_code` None: it was killed at its deadline."""

    exit_code: int | None
    said: str


def run(argv: Sequence[str], *, input_bytes: bytes, timeout_seconds: float) -> Ended:
    """Run a program; at the deadline kill it and all processes it started. Raises OSError if it cannot start.

    The input must fit into a pipe (64 KiB), because it is written before output is read.
    """
    process = subprocess.Popen(
        list(argv),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=ENVIRONMENT,
        start_new_session=True,
        bufsize=0,
    )
    try:
        said, is_over = _talk(process, input_bytes, time.monotonic() + timeout_seconds)
    finally:
        _end(process)
    return Ended(process.returncode if is_over else None, said.decode("utf-8", "replace"))


def _talk(process: "subprocess.Popen[bytes]", input_bytes: bytes, give_up: float) -> tuple[bytes, bool]:
    """Return the end of the output, and whether the program ended by itself."""
    assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 - both are pipes
    with contextlib.suppress(BrokenPipeError), process.stdin as pipe:
        pipe.write(input_bytes)
    said, is_open = b"", True
    while (left := give_up - time.monotonic()) > 0:
        wait = min(left, LOOK_EVERY_SECONDS)
        if is_open and select.select([process.stdout], [], [], wait)[0]:
            piece = os.read(process.stdout.fileno(), KEPT)
            said, is_open = (said + piece)[-KEPT:], bool(piece)
        elif _has_ended(process, 0 if is_open else wait):
            return said, True
    return said, False


def _has_ended(process: "subprocess.Popen[bytes]", wait_seconds: float) -> bool:
    try:
        process.wait(wait_seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def _end(process: "subprocess.Popen[bytes]") -> None:
    # the process group: child processes would otherwise continue
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    if process.stdout is not None:
        process.stdout.close()
    process.wait()

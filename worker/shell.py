"""The only place that starts another program: an argument list, a time-out, never a shell.

Lives here: `run` (wait for it), `spawn` (leave it running in a session of its own) and `listen`
(read its output line by line, for as long as the caller lives). What a
program's output means belongs to the caller.
"""

import contextlib
import os
import signal
import subprocess
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from worker import points

#: what starts a program that is waited for; tests have one that needs not load the stand-in xl anew
start_program: type["subprocess.Popen[bytes]"] = subprocess.Popen
#: a program that `start` has begun
Started = subprocess.Popen[bytes]
#: what else chooses a language, in the C library and in gettext
LANGUAGES = ("LANG", "LANGUAGE")
#: no input, or no output
NOTHING = subprocess.DEVNULL


@dataclass(frozen=True)
class Result:
    """How a program ended. `out` and `err` are its bytes, undecoded."""

    argv: tuple[str, ...]
    rc: int
    out: bytes
    err: bytes

    @property
    def text(self) -> str:
        return self.out.decode("utf-8", "replace")

    @property
    def error_text(self) -> str:
        return self.err.decode("utf-8", "replace")


def in_c_locale(env: Mapping[str, str]) -> dict[str, str]:
    """Return this environment with one language for numbers and messages, whatever the host speaks.

    LVM writes 252,00 where the decimal comma is usual, and errors are told apart by their English words.
    C.UTF-8 and not C: mke2fs and tar could not convert file names beyond ASCII. Where a system has no
    C.UTF-8 the C library uses C.
    """
    kept = {name: value for name, value in env.items() if not (name.startswith("LC_") or name in LANGUAGES)}
    return {**kept, "LC_ALL": "C.UTF-8"}


def _without_ours() -> dict[str, str]:
    """This process's environment without our settings: the broker's password is no business of xl or tar."""
    return {name: value for name, value in os.environ.items() if not name.startswith("WEBXEN_")}


class CommandFailed(Exception):
    """A program that had to succeed did not."""

    def __init__(self, result: Result) -> None:
        self.result = result
        words = (result.error_text.strip() or result.text.strip())[-2000:]
        super().__init__(f"{result.argv[0]} ended with {result.rc}: {words}")


class CommandTimedOut(Exception):
    """A program was still running at its deadline; it and its children were ended."""

    def __init__(self, argv: Sequence[str], timeout_seconds: float) -> None:
        self.argv = tuple(argv)
        self.timeout_seconds = timeout_seconds
        super().__init__(f"{argv[0]} did not end within {timeout_seconds:g} s")


def run(
    argv: Sequence[str],
    *,
    timeout_seconds: float,
    input_bytes: bytes | None = None,
    env: Mapping[str, str] | None = None,
    check: bool = False,
) -> Result:
    """Run a program to its end; past the deadline end it with all that it started."""
    points.reach(f"before {Path(argv[0]).name}")
    process = start_program(
        list(argv),
        stdin=subprocess.PIPE if input_bytes is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=in_c_locale(env if env is not None else _without_ours()),
        start_new_session=True,
    )
    points.reach(f"during {Path(argv[0]).name}")
    try:
        out, err = process.communicate(input_bytes, timeout=timeout_seconds)
    except subprocess.TimeoutExpired:
        _end(process)
        raise CommandTimedOut(argv, timeout_seconds) from None
    except BaseException:
        _end(process)
        raise
    points.reach(f"after {Path(argv[0]).name}")
    result = Result(tuple(argv), process.returncode, out, err)
    if check and result.rc != 0:
        raise CommandFailed(result)
    return result


def _end(process: "subprocess.Popen[bytes]") -> None:
    # The group, not the process: xl starts scripts that would hold the pipes open.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for pipe in (process.stdin, process.stdout, process.stderr):
        # What left the group may hold the other end for ever: close ours, do not wait for the end.
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
    process.wait()


#: What outlives its caller is never waited for, and Python warns of a child it forgets running.
_SPAWNED: "list[subprocess.Popen[bytes]]" = []
_LISTENED_TO: "weakref.WeakSet[subprocess.Popen[bytes]]" = weakref.WeakSet()


def spawn(
    argv: Sequence[str], *, log_path: Path, env: Mapping[str, str] | None = None
) -> "subprocess.Popen[bytes]":
    """Start a program that outlives the caller's terminal; its output goes to `log_path`."""
    with log_path.open("ab") as log:
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=in_c_locale(env if env is not None else os.environ),
            start_new_session=True,
        )
    _SPAWNED.append(process)
    return process


def start(
    argv: Sequence[str],
    *,
    log_path: Path,
    stdin: int = NOTHING,
    stdout: int = NOTHING,
    marks: Mapping[str, str] | None = None,
) -> "subprocess.Popen[bytes]":
    """Start a program that goes on when this process is killed; what it says of errors goes to `log_path`.

    `marks` come first in its environment, and in that of whatever it leaves behind.
    """
    marks = dict(marks or {})
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(log_path, flags, 0o600), "ab") as log:
        process = subprocess.Popen(
            list(argv),
            stdin=stdin,
            stdout=stdout,
            stderr=log,
            env={**marks, **in_c_locale(_without_ours()), **marks},
            start_new_session=True,
        )
    _SPAWNED.append(process)
    return process


def ended(process: "subprocess.Popen[bytes]", *, timeout_seconds: float) -> int | None:
    """Wait so long for a started program; its exit code, None while it runs."""
    try:
        return process.wait(timeout_seconds)
    except subprocess.TimeoutExpired:
        return None


def listen(argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> "subprocess.Popen[bytes]":
    """Start a program whose output is news: read `process.stdout`, `kill()` it when done.

    Its output is a pipe, so it does not outlive a reader that was killed: its next line ends it. A reader
    that leaves in good order says `end_listeners`.
    """
    process = subprocess.Popen(
        list(argv),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=in_c_locale(env if env is not None else _without_ours()),
    )
    _LISTENED_TO.add(process)
    return process


def end_listeners() -> None:
    """End what `listen` began: for a process that ends without waiting for its threads."""
    for process in list(_LISTENED_TO):
        process.kill()


def become(argv: Sequence[str]) -> NoReturn:
    """Go on as another program: for a person's terminal, which needs no time-out."""
    os.execvpe(argv[0], list(argv), in_c_locale(os.environ))  # noqa: S606

"""The only place that starts another program: an argument list, a time-out, never a shell.

Lives here: `run` (wait for it), `run_confined` (the same within limits, for what reads bytes that nobody
vouches for), `spawn` (leave it running in a session of its own) and `listen`
(read its output line by line, for as long as the caller lives). What a
program's output means belongs to the caller.
"""

import contextlib
import errno
import os
import selectors
import shutil
import signal
import subprocess
import time
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from worker import failpoints

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
    failpoints.reach(f"before {Path(argv[0]).name}")
    process = start_program(
        list(argv),
        stdin=subprocess.PIPE if input_bytes is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=in_c_locale(env if env is not None else _without_ours()),
        start_new_session=True,
    )
    failpoints.reach(f"during {Path(argv[0]).name}")
    try:
        out, err = process.communicate(input_bytes, timeout=timeout_seconds)
    except subprocess.TimeoutExpired:
        _end(process)
        raise CommandTimedOut(argv, timeout_seconds) from None
    except BaseException:
        _end(process)
        raise
    failpoints.reach(f"after {Path(argv[0]).name}")
    result = Result(tuple(argv), process.returncode, out, err)
    if check and result.rc != 0:
        raise CommandFailed(result)
    return result


@dataclass(frozen=True)
class Limits:
    """What a program may take that reads bytes which nobody vouches for."""

    memory_bytes: int = 1 << 30
    cpu_seconds: int = 3600
    #: of the largest file it may write
    file_bytes: int = 0
    #: of all that it may print
    output_bytes: int = 1 << 20


class LimitReached(Exception):
    """A program printed, computed or wrote more than it may; it was ended. The text says what."""


def run_confined(argv: Sequence[str], *, timeout_seconds: float, limits: Limits) -> Result:
    """Run a program to its end within limits, in the C locale.

    Raises CommandTimedOut, LimitReached, and FileNotFoundError (`filename` says which program is missing).
    """
    for program in ("prlimit", argv[0]):
        if shutil.which(program) is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), program)
    name = Path(argv[0]).name
    cpu_seconds = min(limits.cpu_seconds, int(timeout_seconds) + 1)
    confined = [
        *("prlimit", f"--as={limits.memory_bytes}", f"--cpu={cpu_seconds}:{cpu_seconds + 1}"),
        *(f"--fsize={limits.file_bytes}", "--core=0", "--", *argv),
    ]
    failpoints.reach(f"before {name}")
    process = start_program(
        confined,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # one thread: xz else takes memory for every processor
        env={**in_c_locale(_without_ours()), "XZ_DEFAULTS": "--threads=1"},
        start_new_session=True,
    )
    failpoints.reach(f"during {name}")
    try:
        out, err = _read_at_most(process, limits.output_bytes, until=time.monotonic() + timeout_seconds)
    except TimeoutError:
        _end(process)
        raise CommandTimedOut(argv, timeout_seconds) from None
    except BaseException:
        _end(process)
        raise
    failpoints.reach(f"after {name}")
    ended_by = {-signal.SIGXCPU: "processor time", -signal.SIGXFSZ: "space"}.get(process.returncode)
    if ended_by:
        raise LimitReached(f"{name} takes more {ended_by} for it than it may")
    return Result(tuple(argv), process.returncode, out, err)


def _read_at_most(
    process: "subprocess.Popen[bytes]", most_bytes: int, *, until: float
) -> tuple[bytes, bytes]:
    """All output until the program's end. Raises LimitReached and TimeoutError."""
    pipes = [pipe for pipe in (process.stdout, process.stderr) if pipe is not None]
    kept = {pipe.fileno(): bytearray() for pipe in pipes}
    with selectors.DefaultSelector() as selector:
        for pipe in pipes:
            selector.register(pipe, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select(max(0.0, until - time.monotonic())):
                piece = os.read(key.fd, 1 << 16)
                kept[key.fd] += piece
                if not piece:
                    selector.unregister(key.fileobj)
            if sum(map(len, kept.values())) > most_bytes:
                raise LimitReached("what reads it prints more than it may")
            if time.monotonic() > until:
                raise TimeoutError
    try:
        process.wait(max(0.0, until - time.monotonic()) + 1.0)
    except subprocess.TimeoutExpired:
        raise TimeoutError from None
    out, err = (bytes(part) for part in kept.values())
    for pipe in pipes:
        pipe.close()
    return out, err


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

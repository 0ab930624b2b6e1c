"""The only module of the worker that starts programs: with an argument list and without a shell.

`run` waits for a program. `run_confined` does so within limits, for programs that read untrusted bytes.
`spawn` and `start` leave a program running in a session of its own. `listen` reads its output line by line as
long as the caller lives. The meaning of the output is up to the caller.
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

#: starts a program that is waited for; tests replace it to avoid loading the stand-in xl each time
start_program: type["subprocess.Popen[bytes]"] = subprocess.Popen
#: a program started by `start`
Started = subprocess.Popen[bytes]
#: other variables that choose a language, in the C library and in gettext
LANGUAGES = ("LANG", "LANGUAGE")
#: no input, or no output
NOTHING = subprocess.DEVNULL


@dataclass(frozen=True)
class Result:
    """How a program ended. `out` and `err` are its output in bytes."""

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
    """This environment with the C.UTF-8 locale, whatever the host's language.

    LVM prints 252,00 where a decimal comma is usual, and errors are recognized by their English text. It is
    C.UTF-8 and not C because mke2fs and tar could not convert file names beyond ASCII. Where a system has no
    C.UTF-8, the C library uses C.
    """
    kept = {name: value for name, value in env.items() if not (name.startswith("LC_") or name in LANGUAGES)}
    return {**kept, "LC_ALL": "C.UTF-8"}


def _without_ours() -> dict[str, str]:
    """This process's environment without WebXen's settings: xl and tar must not see the broker's password."""
    return {name: value for name, value in os.environ.items() if not name.startswith("WEBXEN_")}


class CommandFailed(Exception):
    """A program failed that was run with `check`."""

    def __init__(self, result: Result) -> None:
        self.result = result
        words = (result.error_text.strip() or result.text.strip())[-2000:]
        super().__init__(f"{result.argv[0]} ended with {result.rc}: {words}")


class CommandTimedOut(Exception):
    """A program was still running at its deadline; it and its children were killed."""

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
    """Run a program to its end. Returns its result.

    Raises CommandTimedOut after the deadline, when it and its process group are killed, CommandFailed with
    `check`, and OSError if the program cannot be started.
    """
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
    """Limits of a program that reads untrusted bytes."""

    memory_bytes: int = 1 << 30
    cpu_seconds: int = 3600
    #: size of the largest file that it may write
    file_bytes: int = 0
    #: total size of what it may print
    output_bytes: int = 1 << 20


class LimitReached(Exception):
    """A program exceeded one of its limits and was killed. The text says which."""


def run_confined(argv: Sequence[str], *, timeout_seconds: float, limits: Limits) -> Result:
    """Run a program to its end within limits, in the C.UTF-8 locale. Returns its result.

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
        # one thread, because xz otherwise uses memory for every processor
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
    # The process group, because xl starts scripts that would hold the pipes open.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for pipe in (process.stdin, process.stdout, process.stderr):
        # A process that left the group may hold the other end open, so the pipe is closed without waiting.
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
    process.wait()


#: Programs that outlive their caller are never waited for; Python warns of a child that is collected while it
#: runs.
_SPAWNED: "list[subprocess.Popen[bytes]]" = []
_LISTENED_TO: "weakref.WeakSet[subprocess.Popen[bytes]]" = weakref.WeakSet()


def spawn(
    argv: Sequence[str], *, log_path: Path, env: Mapping[str, str] | None = None
) -> "subprocess.Popen[bytes]":
    """Start a program that outlives the caller's terminal. Its output goes to `log_path`. Raises OSError."""
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
    """Start a program that continues when this process is killed. Its error output goes to `log_path`.

    `marks` are the first variables in its environment, and in that of the processes it leaves behind. Raises
    OSError.
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
    """Wait at most this long for a started program. Returns its exit code, or None while it runs."""
    try:
        return process.wait(timeout_seconds)
    except subprocess.TimeoutExpired:
        return None


def listen(argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> "subprocess.Popen[bytes]":
    """Start a program whose output is read from `process.stdout`. Call `kill()` when done. Raises OSError.

    When the reader is killed, the program ends at its next write to the pipe. A reader that exits normally
    calls `end_listeners`.
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
    """Kill what `listen` started, for a process that exits without waiting for its threads."""
    for process in list(_LISTENED_TO):
        process.kill()


def become(argv: Sequence[str]) -> NoReturn:
    """Replace this process by another program, for an interactive session that needs no time-out.

    Raises OSError.
    """
    os.execvpe(argv[0], list(argv), in_c_locale(os.environ))  # noqa: S606

"""Starts the stand-in programs in a fork of this process: same arguments and output, without a new Python.

Loading Python and its modules takes ten times as long as an `xl list` of the stand-in. All other programs are
started as usual. Where a program is killed, hangs, or outlives its caller, it is a process of its own here
too, and /proc shows its command line.
"""

import ctypes
import gc
import os
import signal
import struct
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from devtools.fakexl import attach, create, verbs, xenstore
from devtools.fakexl.__main__ import main
from devtools.fakexl.stand_in import PROGRAMS
from worker import failpoints, shell

#: modules that `main` loads when it is called
MODULES = (attach, create, verbs, xenstore)
PR_SET_MM, PR_SET_MM_MAP = 35, 14
DEFAULTS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD)


class Preloaded(subprocess.Popen[bytes]):
    """A Popen that forks the stand-in's programs."""

    def _execute_child(self, *given: Any) -> None:
        argv, env = [os.fspath(word) for word in given[0]], given[6]
        if not _is_stand_in(argv):
            super()._execute_child(*given)  # type: ignore[misc]
            return
        files = given[10:16]
        stdin, _, _, stdout, _, stderr = files
        self.pid = os.fork()
        if self.pid == 0:
            _be(argv, env, stdin, stdout, stderr)
        self._child_created = True
        self._close_pipe_fds(*files)  # type: ignore[attr-defined]


def _is_stand_in(argv: list[str]) -> bool:
    program = Path(argv[0])
    return program.name in PROGRAMS and (program.parent.parent / "settings.json").exists()


def _be(argv: list[str], env: dict[str, str] | None, stdin: int, stdout: int, stderr: int) -> NoReturn:
    """Become the program; called in the forked child."""
    rc = 70
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in DEFAULTS:
            signal.signal(number, signal.SIG_DFL)
        for number, descriptor in enumerate((stdin, stdout, stderr)):
            os.dup2(descriptor, number)
        # the worker's locks too: if the parent dies, they must be released with it
        os.closerange(3, 1 << 16)
        failpoints.listener = None
        gc.disable()
        if env is not None:
            os.environ.clear()
            os.environ.update(env)
        sys.argv = argv
        sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w")
        _call_oneself([sys.executable, "-SE", *argv])
        rc = main(Path(argv[0]).parent.parent, Path(argv[0]).name, argv[1:])
        sys.stdout.flush()
        sys.stderr.flush()
    except SystemExit as end:
        rc = int(end.code or 0)
    except BaseException:  # noqa: BLE001 - the child's own end: nothing of the caller's may run here
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(rc)


#: memory from which the kernel reads the command line
_words = ctypes.create_string_buffer(1)
_libc = ctypes.CDLL(None, use_errno=True)
_libc.sbrk.restype = ctypes.c_void_p


def _call_oneself(argv: list[str]) -> None:
    """Make /proc show this command line, because watchers are found by it."""
    global _words  # noqa: PLW0603
    text = b"\0".join(os.fsencode(word) for word in argv) + b"\0"
    _words = ctypes.create_string_buffer(text, len(text))
    start = ctypes.addressof(_words)
    fields = [int(word) for word in Path("/proc/self/stat").read_text().rpartition(")")[2].split()[1:]]
    # proc_pid_stat(5) counts from 1, and the first three fields were cut off
    code, data, heap, env = fields[22:24], fields[41:43], fields[43], fields[46:48]
    mm_map = struct.pack(
        "=11QQIi", *code, *data, heap, _libc.sbrk(0), fields[24], start, start + len(text), *env, 0, 0, -1
    )
    if _libc.prctl(PR_SET_MM, PR_SET_MM_MAP, ctypes.c_char_p(mm_map), ctypes.c_ulong(len(mm_map)), 0) != 0:
        raise OSError(ctypes.get_errno(), "the command line cannot be set")


@contextmanager
def preloaded() -> Iterator[None]:
    """Start the stand-in this way in this process from now on."""
    shell.start_program = Preloaded
    try:
        yield
    finally:
        shell.start_program = subprocess.Popen

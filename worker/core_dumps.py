"""No core dumps: keys, seeds and the broker's password must not reach a disk when a process crashes.

Lives here: the one call that each of the worker's services makes first. The units say LimitCORE=0 too.
"""

import contextlib
import ctypes
import resource

#: linux/prctl.h
PR_SET_DUMPABLE = 4


def forbid() -> None:
    """Let the kernel write no core of this process, nor of those it starts, to a file or a program."""
    with contextlib.suppress(ValueError, OSError):  # the hard limit is lower already
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # A core_pattern that begins with a pipe does not look at the limit.
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)

"""Disable core dumps, so that keys, seeds and the broker's password do not reach a disk after a crash.

Each service of the worker calls `forbid` first; the systemd units also set LimitCORE=0.
"""

import contextlib
import ctypes
import resource

#: linux/prctl.h
PR_SET_DUMPABLE = 4


def forbid() -> None:
    """Disable core dumps of this process and set the core size limit of its children to 0."""
    with contextlib.suppress(ValueError, OSError):  # the hard limit is already lower
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # The kernel ignores RLIMIT_CORE when core_pattern is a pipe (core(5)), so the process is also made
    # undumpable.
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)

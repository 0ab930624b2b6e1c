"""Failpoints: named points at which a test can kill the process or cancel the job.

The worker calls `reach` before and after each change to the host. Without a listener it does nothing.
"""

from collections.abc import Callable

#: called with the failpoint's name; set by tests only
listener: Callable[[str], None] | None = None


def reach(name: str) -> None:
    """Report a failpoint to the listener, if one is set."""
    if listener is not None:
        listener(name)

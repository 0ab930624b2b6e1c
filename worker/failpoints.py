"""Points at which a job can be broken off, for tests that kill or cancel at each of them in turn.

Lives here: one hook, called before and after whatever changes this host. In service nobody listens.
"""

from collections.abc import Callable

#: called with the point's name; a test counts points, ends the process at one, or asks for a cancel
listener: Callable[[str], None] | None = None


def reach(name: str) -> None:
    """The code stands at this point."""
    if listener is not None:
        listener(name)

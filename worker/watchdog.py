"""What a service tells systemd: that it is ready, and that it still works (sd_notify(3)).

Lives here: the messages, and which loops must have been seen lately. A unit with Type=notify and WatchdogSec
is ended and started again by systemd when the messages stop. Without systemd nothing is sent.
"""

import logging
import socket
import threading
import time
from collections.abc import Callable, MutableMapping

logger = logging.getLogger(__name__)

#: how often a process without a watchdog looks whether it is to end
IDLE_SECONDS = 3600.0


class Watchdog:
    """Tells systemd that this process works, as long as each of its loops is seen in time."""

    def __init__(
        self, environment: MutableMapping[str, str], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        # taken out: what is started from here, such as xl, must not speak for this service
        self._address = environment.pop("NOTIFY_SOCKET", "")
        allowed = int(environment.pop("WATCHDOG_USEC", "0") or 0) / 1e6
        environment.pop("WATCHDOG_PID", None)
        #: seconds between two messages
        self.interval_seconds = allowed / 3 if allowed and self._address else IDLE_SECONDS
        self._clock = clock
        self._lock = threading.Lock()
        #: when each loop must be seen next, and how long it may take
        self._due: dict[str, tuple[float, float]] = {}

    def seen(self, loop: str, *, longest_seconds: float) -> None:
        """A loop says that it goes on, and how long it may take until it says so again."""
        with self._lock:
            self._due[loop] = (self._clock() + longest_seconds, longest_seconds)

    def late(self) -> list[str]:
        """Names of the loops that were not seen in time."""
        with self._lock:
            return sorted(name for name, (due, _) in self._due.items() if due < self._clock())

    def say_ready(self) -> None:
        self._send("READY=1")

    def say_stopping(self) -> None:
        self._send("STOPPING=1")

    def say_alive(self) -> bool:
        """Tell systemd that this process works. Returns False, and tells nothing, where a loop is late."""
        if late := self.late():
            logger.error("not seen in time: %s; systemd starts this service again", ", ".join(late))
            return False
        self._send("WATCHDOG=1")
        return True

    def _send(self, state: str) -> None:
        if not self._address:
            return
        name = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notifier:
                notifier.connect(name)
                notifier.sendall(state.encode())
        except OSError as error:
            logger.warning("systemd was not told %s: %s", state, error)

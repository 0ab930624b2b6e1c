"""Messages to the portal: sealed with the host's key and given to whoever carries them.

Lives here: the one call that seals. When and what is sent belongs to `reporting` and `observe`; the way
to the broker is `outbox`, the listener, and `broker.publish`.
"""

import time
from collections.abc import Callable

from worker.contract import TASK_REPORT, Message, seal

#: How long a message may travel. The portal drops older ones; ends are sealed anew when sent again.
LIFE_SECONDS = 24 * 3600


class MessageSender:
    """`carry(task, envelope)` returns when the broker has it, and raises PortalAway otherwise."""

    def __init__(
        self, *, host: str, sign: Callable[[bytes], bytes], carry: Callable[[str, str], None]
    ) -> None:
        self._host = host
        self._sign = sign
        self._carry = carry

    def send(self, message: Message, *, task: str = TASK_REPORT) -> None:
        """Send once. Raises PortalAway."""
        not_after = int(time.time()) + LIFE_SECONDS
        self._carry(task, seal(message, host=self._host, sign=self._sign, not_after=not_after))

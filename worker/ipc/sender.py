"""Seals messages to the portal with the host's key and passes them to a transport.

When and what is sent is decided in `worker.job.reporting` and `worker.observe`.
"""

import time
from collections.abc import Callable

from worker.contract import TASK_REPORT, Message, seal

#: Lifetime of a message. The portal drops older ones; end reports are sealed again when they are sent again.
LIFE_SECONDS = 24 * 3600


class MessageSender:
    """Seals and sends. `carry(task, envelope)` returns once the broker accepted it, or raises PortalAway."""

    def __init__(
        self, *, host: str, sign: Callable[[bytes], bytes], carry: Callable[[str, str], None]
    ) -> None:
        self._host = host
        self._sign = sign
        self._carry = carry

    def send(self, message: Message, *, task: str = TASK_REPORT) -> None:
        """Send a message once. Raises PortalAway."""
        not_after = int(time.time()) + LIFE_SECONDS
        self._carry(task, seal(message, host=self._host, sign=self._sign, not_after=not_after))

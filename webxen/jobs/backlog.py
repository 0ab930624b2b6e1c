"""What waited on the portal's queue while nobody listened: an observation of then says nothing of now.

Lives here: counting those messages off. A host that died meanwhile would else be taken for alive, and given
machines. Nothing is lost with them: a host that lives shows itself every ten seconds.
"""

import logging
import time
from collections.abc import Callable
from typing import Any

from celery import current_app
from kombu.exceptions import KombuError, OperationalError

from worker import contract

log = logging.getLogger(__name__)

#: beat alone sends something every few seconds, so a longer pause means that this process did not listen
PAUSE_SECONDS = 30.0


def waiting() -> int:
    """How many messages are on the queue now."""
    try:
        with current_app.connection_for_read() as broker:
            channel: Any = broker.default_channel
            return int(channel.queue_declare(queue=contract.QUEUE_REPORTS, passive=True).message_count)
    except (KombuError, OperationalError, OSError) as error:
        log.warning("the queue could not be counted: %s", error)
        return 0


class Backlog:
    """Told of each message before it is looked into; knows whether that one had waited."""

    def __init__(
        self, *, count: Callable[[], int] = waiting, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._count, self._now = count, now
        self._left = 0
        self._heard_at: float | None = None
        self.is_old = False

    def hear(self) -> None:
        now = self._now()
        if self._heard_at is None or now - self._heard_at > PAUSE_SECONDS:
            # this one, and what is behind it
            self._left = 1 + self._count()
        self._heard_at = now
        self.is_old = self._left > 0
        self._left -= self.is_old


backlog = Backlog()

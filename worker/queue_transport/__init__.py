"""Kombu's Redis transport, made to outlive what should never be on a queue; for the listener and the portal.

Lives here: one subclass of Kombu's channel and transport, and the line that puts it in Kombu's table. A stock
Celery worker ends for good when one item of its list is not the JSON that Kombu writes; here such an item is
dropped with one log line. Which items are dropped, and how long one is kept, each side says itself.

Nothing is kept in Redis for an item that was taken: it is sent again. So there is none of Kombu's locks here,
which are scripts, and a host's account may run no script.
"""

import logging
from collections.abc import Callable
from typing import Any

from kombu import transport as kombu_transport
from kombu.transport import redis, virtual

logger = logging.getLogger(__name__)

#: what Kombu's reader raises on an item it did not write
POISON = (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError)


class GuardedQoS(virtual.QoS):
    """The items taken and not yet begun, in this process alone."""

    def restore_unacked(self) -> list[Any]:  # type: ignore[override]  # the stubs miss what it returns
        """At the end: back on the queue. What Redis does not take now is sent again."""
        lost: Any = super().restore_unacked()
        if lost:
            logger.warning("%d messages could not be put back on the queue", len(lost))
        # Kombu would write those it is told of to a file in /tmp
        return []


class GuardedChannel(redis.Channel):
    """A channel that drops an item it cannot read, instead of ending the process."""

    ack_emulation = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.QoS = GuardedQoS  # type: ignore[assignment]  # Kombu itself puts virtual.QoS here

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[misc]  # not in Kombu's stubs
        except POISON as error:
            # BRPOP has taken the item off the list before Kombu reads it
            logger.warning("dropped an unreadable item from the queue: %s", type(error).__name__)
            return None


class GuardedTransport(redis.Transport):
    """Kombu's Redis transport with a guarded channel, and a look at each item's shape."""

    Channel = GuardedChannel
    # Celery's event loop is left alone: when Redis goes while a message is being acknowledged, that
    # loop forgets its sockets and waits for ever. The plain loop notices and connects again.
    implements = redis.Transport.implements.extend(asynchronous=False)
    #: answers why an item is dropped, and "" when it is not
    find_fault: Callable[[object], str]

    def _deliver(self, message: Any, queue: str | None) -> None:
        if fault := type(self).find_fault(message):
            logger.warning("dropped an item from the queue %s: %s", queue, fault)
            return
        super()._deliver(message, queue)


def use(transport: type[GuardedTransport]) -> None:
    """Make redis:// and rediss:// mean this transport, in this process."""
    for scheme in ("redis", "rediss"):
        kombu_transport.TRANSPORT_ALIASES[scheme] = f"{transport.__module__}:{transport.__qualname__}"

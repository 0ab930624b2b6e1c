"""The Redis transport of Kombu, made to outlive what should never be on the queue.

Lives here: one subclass of Kombu's channel and transport, and the line that puts it in Kombu's
table. A stock Celery worker ends with an unrecoverable error when one item of its list is not the
JSON that Kombu writes; here such an item is dropped with one log line. Which items are dropped is
`contract.find_fault`; what a well-formed message means is `tasks`.

Nothing is kept in Redis for an item that was taken: a lost order is sent again by the portal. So
there is none of Kombu's locks here, which are scripts, and a host's account may run no script.
"""

import json
import logging
from typing import Any

from kombu import transport as kombu_transport
from kombu.transport import redis, virtual

from worker.contract import find_fault, limits_of

logger = logging.getLogger(__name__)

#: What Kombu's reader raises on an item it did not write (all seen in tests/worker/test_poison.py).
POISON = (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError)


class QoS(virtual.QoS):
    """The items taken and not yet begun, in this process alone."""

    def restore_unacked(self) -> list[Any]:  # type: ignore[override]  # the stubs miss what it returns
        """At the end: back on the queue. What Redis does not take now, the portal sends again."""
        lost: Any = super().restore_unacked()
        if lost:
            logger.warning("%d orders could not be put back on the queue", len(lost))
        # Kombu would write those it is told of to a file in /tmp
        return []


class Channel(redis.Channel):
    """A channel that drops an item it cannot read, instead of ending the process."""

    ack_emulation = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.QoS = QoS  # type: ignore[assignment]  # Kombu itself puts virtual.QoS here

    def _put(self, queue: str, message: Any, **kwargs: Any) -> None:
        limits = limits_of(queue)
        if limits is None:
            super()._put(queue, message, **kwargs)
            return
        most, seconds = limits
        with self.conn_or_acquire() as client, client.pipeline() as pipe:
            pipe.lpush(queue, json.dumps(message)).ltrim(queue, 0, most - 1).expire(queue, seconds)
            pipe.execute()

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[misc]  # not in Kombu's stubs
        except POISON as error:
            # The item has left the list already: BRPOP takes it before Kombu reads it.
            logger.warning("dropped an unreadable item from the queue: %s", type(error).__name__)
            return None


class Transport(redis.Transport):
    """Kombu's Redis transport with the guarded channel, and a look at each item's shape."""

    Channel = Channel
    # Celery's event loop is left alone: when Redis goes while a message is being acknowledged, that
    # loop forgets its sockets and waits for ever. The plain loop notices and connects again.
    implements = redis.Transport.implements.extend(asynchronous=False)

    def _deliver(self, message: Any, queue: str | None) -> None:
        fault = find_fault(message)
        if fault:
            logger.warning("dropped an item from the queue %s: %s", queue, fault)
            return
        super()._deliver(message, queue)


def install() -> None:
    """Make redis:// and rediss:// mean the guarded transport, in this process."""
    for scheme in ("redis", "rediss"):
        kombu_transport.TRANSPORT_ALIASES[scheme] = "worker.listener.queue_transport:Transport"

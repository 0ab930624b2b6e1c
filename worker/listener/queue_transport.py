"""Kombu's Redis transport, which also survives malformed items on the queue.

A stock Celery worker ends with an unrecoverable error when an item of its list is not the JSON that Kombu
writes. This subclass drops such an item with one log line. `contract.find_fault` decides which items are
dropped.

Items that were taken are not kept in Redis, because the portal sends a lost order again. So Kombu's locks are
not used; they are scripts, and a host's broker account may not run scripts.
"""

import json
import logging
from typing import Any

from kombu import transport as kombu_transport
from kombu.transport import redis, virtual

from worker.contract import find_fault, limits_of

logger = logging.getLogger(__name__)

#: What Kombu's reader raises on an item that it did not write (all seen in tests/worker/test_poison.py).
POISON = (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError)


class QoS(virtual.QoS):
    """Keeps the items that were taken and not yet begun in this process only."""

    def restore_unacked(self) -> list[Any]:  # type: ignore[override]  # the stubs miss what it returns
        """Put prefetched items back on the queue at shutdown.

        The portal sends again what Redis does not accept.
        """
        lost: Any = super().restore_unacked()
        if lost:
            logger.warning("%d orders could not be put back on the queue", len(lost))
        # Kombu would write the items returned here to a file in /tmp
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
            # BRPOP has already removed the item from the list.
            logger.warning("dropped an unreadable item from the queue: %s", type(error).__name__)
            return None


class Transport(redis.Transport):
    """Kombu's Redis transport with `Channel`. Checks the shape of each item before it is delivered."""

    Channel = Channel
    # Celery's event loop is not used: when the connection to Redis is lost while a message is acknowledged,
    # that loop forgets its sockets and waits for ever. The plain loop reconnects.
    implements = redis.Transport.implements.extend(asynchronous=False)

    def _deliver(self, message: Any, queue: str | None) -> None:
        fault = find_fault(message)
        if fault:
            logger.warning("dropped an item from the queue %s: %s", queue, fault)
            return
        super()._deliver(message, queue)


def install() -> None:
    """Register this transport for redis:// and rediss:// in this process."""
    for scheme in ("redis", "rediss"):
        kombu_transport.TRANSPORT_ALIASES[scheme] = "worker.listener.queue_transport:Transport"

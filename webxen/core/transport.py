"""Kombu's Redis transport that survives unreadable queue items and limits the length of queues.

A stock Celery worker exits when an item of its list is not the JSON that Kombu writes; here such an item is
dropped with one log line. The dom0 worker has its own implementation, because neither side imports the
other's code. worker.contract defines which items are dropped.

A message with the header SLOT replaces the previous message with the same slot that is still queued, so an
unread queue holds one message per slot. Taken messages are not kept for redelivery: the periodic tasks send
them again.
"""

import json
import logging
from collections.abc import Callable
from typing import Any

from kombu import transport as kombu_transport
from kombu.transport import redis, virtual

log = logging.getLogger(__name__)

#: header that names the subject of a message; only the newest message of a subject is queued
SLOT = "slot"
#: longer than the validity of an order and than any interval of the periodic tasks
KEPT_SECONDS = 3600
#: exceptions of Kombu's reader for an item it did not write
POISON = (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError)


class GuardedQoS(virtual.QoS):
    """Tracks taken items that have not been started, in this process only."""

    def restore_unacked(self) -> list[Any]:  # type: ignore[override]  # the stubs miss what it returns
        """On shutdown, put items back on the queue; periodic tasks repeat those that Redis refuses."""
        lost: Any = super().restore_unacked()
        if lost:
            log.warning("%d messages could not be put back on the queue", len(lost))
        # Kombu would write the returned items to a file in /tmp
        return []


class GuardedChannel(redis.Channel):
    """A channel that drops an item it cannot read instead of ending the process."""

    ack_emulation = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.QoS = GuardedQoS  # type: ignore[assignment]  # Kombu itself puts virtual.QoS here

    def _put(self, queue: str, message: Any, **kwargs: Any) -> None:
        slot = message["headers"].get(SLOT)
        if slot is None:
            super()._put(queue, message, **kwargs)
            return
        # there is a list for each priority; the queued message may have had another one
        keys = [self._key(queue, priority) for priority in self.priority_steps]
        key = self._key(queue, self._get_message_priority(message, reverse=False))
        item, waiting = json.dumps(message), f"webxen.waiting.{queue}.{slot}"

        def take_its_place(pipe: Any) -> None:
            before = pipe.get(waiting)
            pipe.multi()
            for one in keys if before else ():
                pipe.lrem(one, 1, before)
            pipe.lpush(key, item)
            pipe.expire(key, KEPT_SECONDS)
            pipe.set(waiting, item, ex=KEPT_SECONDS)

        with self.conn_or_acquire() as client:
            client.transaction(take_its_place, waiting)

    def _key(self, queue: str, priority: int) -> str:
        return str(self._q_for_pri(queue, priority))  # type: ignore[attr-defined]  # not in Kombu's stubs

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[misc]  # not in Kombu's stubs
        except POISON as error:
            # BRPOP has removed the item from the list before Kombu parses it
            log.warning("dropped an unreadable item from the queue: %s", type(error).__name__)
            return None


class GuardedTransport(redis.Transport):
    """Kombu's Redis transport with the guarded channel and a check of each item's structure."""

    Channel = GuardedChannel
    # Disables Celery's event loop: if Redis disconnects while a message is being acknowledged, that loop
    # loses its sockets and waits forever. The plain loop notices and reconnects.
    implements = redis.Transport.implements.extend(asynchronous=False)
    find_fault: Callable[[object], str]

    def _deliver(self, message: Any, queue: str | None) -> None:
        if fault := type(self).find_fault(message):
            log.warning("dropped an item from the queue %s: %s", queue, fault)
            return
        super()._deliver(message, queue)


def install(*, find_fault: Callable[[object], str]) -> None:
    """Use the guarded transport for redis:// and rediss:// in this process.

    `find_fault` returns the reason to drop an item, or "" to accept it.
    """
    GuardedTransport.find_fault = staticmethod(find_fault)
    for scheme in ("redis", "rediss"):
        kombu_transport.TRANSPORT_ALIASES[scheme] = "webxen.core.transport:GuardedTransport"

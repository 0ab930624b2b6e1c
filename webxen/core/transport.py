"""Kombu's Redis transport, made to outlive what should never be on a queue, and to keep no queue long.

A stock Celery worker ends for good when one item of its list is not the JSON that Kombu writes; here
such an item is dropped with one log line. The dom0's worker guards its queue in the same way and on
its own: neither side imports the other's code. Which items are dropped is the contract's affair.

A message sent with the header SLOT takes the place of the one before it with the same slot, if that still
waits: a queue that nobody reads holds one of each. Nothing is kept for what was taken: it is sent again.
"""

import json
import logging
from collections.abc import Callable
from typing import Any

from kombu import transport as kombu_transport
from kombu.transport import redis, virtual

log = logging.getLogger(__name__)

#: names what a message is about; the newest about it is the only one that waits
SLOT = "slot"
#: longer than an order is valid and than anything of the clock's counts
KEPT_SECONDS = 3600
#: what Kombu's reader raises on an item it did not write
POISON = (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError)


class GuardedQoS(virtual.QoS):
    """The items taken and not yet begun, in this process alone."""

    def restore_unacked(self) -> list[Any]:  # type: ignore[override]  # the stubs miss what it returns
        """At the end: back on the queue. What Redis does not take now, the clock sends again."""
        lost: Any = super().restore_unacked()
        if lost:
            log.warning("%d messages could not be put back on the queue", len(lost))
        # Kombu would write those it is told of to a file in /tmp
        return []


class GuardedChannel(redis.Channel):
    """A channel that drops an item it cannot read, instead of ending the process."""

    ack_emulation = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.QoS = GuardedQoS  # type: ignore[assignment]  # Kombu itself puts virtual.QoS here

    def _put(self, queue: str, message: Any, **kwargs: Any) -> None:
        slot = message["headers"].get(SLOT)
        if slot is None:
            super()._put(queue, message, **kwargs)
            return
        # a list for each priority; the one that waits may have had another
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
            # BRPOP has taken the item off the list before Kombu reads it
            log.warning("dropped an unreadable item from the queue: %s", type(error).__name__)
            return None


class GuardedTransport(redis.Transport):
    """Kombu's Redis transport with the guarded channel, and a look at each item's shape."""

    Channel = GuardedChannel
    # Celery's event loop is left alone: when Redis goes while a message is being acknowledged, that
    # loop forgets its sockets and waits for ever. The plain loop notices and connects again.
    implements = redis.Transport.implements.extend(asynchronous=False)
    find_fault: Callable[[object], str]

    def _deliver(self, message: Any, queue: str | None) -> None:
        if fault := type(self).find_fault(message):
            log.warning("dropped an item from the queue %s: %s", queue, fault)
            return
        super()._deliver(message, queue)


def install(*, find_fault: Callable[[object], str]) -> None:
    """Make redis:// and rediss:// mean the guarded transport, in this process.

    `find_fault` answers why an item is dropped, and "" when it is not.
    """
    GuardedTransport.find_fault = staticmethod(find_fault)
    for scheme in ("redis", "rediss"):
        kombu_transport.TRANSPORT_ALIASES[scheme] = "webxen.core.transport:GuardedTransport"

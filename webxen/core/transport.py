"""The portal's queues: kept short, and none for long. `worker.queue_transport` drops what is no message.

A message with the header SLOT replaces the previous message with the same slot that is still queued, so an
unread queue holds one message per slot. Taken messages are not kept for redelivery: the periodic tasks send
them again.
"""

import json
from collections.abc import Callable
from typing import Any

from worker import queue_transport
from worker.queue_transport import GuardedChannel, GuardedTransport

#: header that names the subject of a message; only the newest message of a subject is queued
SLOT = "slot"
#: longer than the validity of an order and than any interval of the periodic tasks
KEPT_SECONDS = 3600


class Channel(GuardedChannel):
    """A channel on which a message may take an earlier one's place."""

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


class Transport(GuardedTransport):
    Channel = Channel


def install(*, find_fault: Callable[[object], str]) -> None:
    """Use the guarded transport for redis:// and rediss:// in this process.

    `find_fault` returns the reason to drop an item, or "" to accept it.
    """
    Transport.find_fault = staticmethod(find_fault)
    queue_transport.use(Transport)

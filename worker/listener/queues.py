"""The host's own queues to the portal: kept short while nobody reads them."""

import json
from typing import Any

from worker import queue_transport
from worker.contract import find_fault, limits_of
from worker.queue_transport import GuardedChannel, GuardedTransport


class Channel(GuardedChannel):
    """A channel that keeps what the contract says of each queue."""

    def _put(self, queue: str, message: Any, **kwargs: Any) -> None:
        limits = limits_of(queue)
        if limits is None:
            super()._put(queue, message, **kwargs)
            return
        most, seconds = limits
        with self.conn_or_acquire() as client, client.pipeline() as pipe:
            pipe.lpush(queue, json.dumps(message)).ltrim(queue, 0, most - 1).expire(queue, seconds)
            pipe.execute()


class Transport(GuardedTransport):
    Channel = Channel
    find_fault = staticmethod(find_fault)


def install() -> None:
    """Make redis:// and rediss:// mean the guarded transport, in this process."""
    queue_transport.use(Transport)

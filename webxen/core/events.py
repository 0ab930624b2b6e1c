"""Notify open pages over the channel layer that an object changed. Sent after commit; may be lost.

A notification holds only ids. The page then fetches what its user may see.
"""

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from redis.exceptions import RedisError

from webxen.core import after_commit

log = logging.getLogger(__name__)
STAFF_GROUP = "staff"
#: a broker that does not answer must not delay the request
TIMEOUT_SECONDS = 0.5


def user_group(user_id: int) -> str:
    return f"user.{user_id}"


def publish(*, kind: str, id: str, user_ids: Iterable[int] = (), machine: str = "") -> None:
    """Notify the open pages of these users and of staff after the transaction commits. Never raises.

    `kind`: machine, job, request or host. `machine`: the id of the machine concerned, if any.
    """
    groups = [STAFF_GROUP, *(user_group(user_id) for user_id in user_ids)]
    message = {"type": "changed", "kind": kind, "id": id, "machine": machine}
    after_commit.run(lambda: _send(groups, message), about=f"the hint about {kind} {id}")


def _send(groups: list[str], message: dict[str, Any]) -> None:
    layer = get_channel_layer()
    if layer is None:
        return
    try:
        async_to_sync(_send_all)(layer, groups, message)
    except (RedisError, OSError):
        log.info("live hint not sent: the broker is away")


async def _send_all(layer: Any, groups: list[str], message: dict[str, Any]) -> None:
    # one event loop for all groups: each loop opens a new connection to the broker
    async with asyncio.timeout(TIMEOUT_SECONDS):
        for group in groups:
            await layer.group_send(group, message)

"""Hints for live pages: "look again at this". Sent after commit; losing one costs a little freshness.

Only ids travel here, never content: the page fetches what its user may see.
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
#: a broker that does not answer must not hold up the person who clicked
TIMEOUT_SECONDS = 0.5


def user_group(user_id: int) -> str:
    return f"user.{user_id}"


def publish(*, kind: str, id: str, user_ids: Iterable[int] = (), machine: str = "") -> None:
    """Tell these users' open pages (and staff's) that something changed, once we have committed.

    `kind`: machine, job, request, host. `machine`: the machine concerned, if any.
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
    # in one event loop: each costs a new connection to the broker
    async with asyncio.timeout(TIMEOUT_SECONDS):
        for group in groups:
            await layer.group_send(group, message)

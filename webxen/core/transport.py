"""Kombu's Redis transport, made to outlive what should never be on the portal's queue.

A stock Celery worker ends for good when one item of its list is not the JSON that Kombu writes; here
such an item is dropped with one log line. The dom0's worker guards its queue in the same way and on
its own: neither side imports the other's code. What a well-formed message means is jobs.tasks' affair.
"""

import logging
from collections.abc import Callable
from typing import Any

from kombu import transport as kombu_transport
from kombu.transport import redis

log = logging.getLogger(__name__)

#: twice the largest envelope, as Kombu writes it in base64
MAX_ITEM_BYTES = 3 << 20
#: what Kombu's reader raises on an item it did not write
POISON = (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError)

#: (where, what it must be): Kombu and Celery read these without looking
SHAPE: tuple[tuple[tuple[str, ...], Callable[[Any], bool]], ...] = (
    (("properties",), lambda value: isinstance(value, dict)),
    (("properties", "delivery_tag"), lambda value: isinstance(value, str)),
    (("properties", "delivery_info"), lambda value: isinstance(value, dict)),
    (("properties", "delivery_info", "exchange"), lambda value: isinstance(value, str)),
    (("properties", "delivery_info", "routing_key"), lambda value: isinstance(value, str)),
    (("properties", "body_encoding"), lambda value: value in (None, "base64")),
    (("content-type",), lambda value: value == "application/json"),
    (("content-encoding",), lambda value: value == "utf-8"),
    (("body",), lambda value: isinstance(value, str) and len(value) <= MAX_ITEM_BYTES),
    (("headers",), lambda value: isinstance(value, dict)),
    (("headers", "task"), lambda value: isinstance(value, str)),
    (("headers", "id"), lambda value: isinstance(value, str)),
    (("headers", "compression"), lambda value: value is None),
)


def find_fault(untrusted_message: object) -> str:
    """Why Kombu could not read this item; nothing when it can."""
    for path, is_good in SHAPE:
        value: Any = untrusted_message
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        if not is_good(value):
            return f"its {'.'.join(path)} is not acceptable"
    return ""


class GuardedQoS(redis.QoS):
    """The count of items taken and not yet acknowledged, which may not stay too high for ever."""

    def ack(self, delivery_tag: str) -> None:
        try:
            super().ack(delivery_tag)
        except Exception:
            # Redis is away. The item stays counted then, nothing more is taken, and so nobody notices
            # when Redis is back: the worker lives and is deaf. Kombu gives the item out again later.
            self._quick_ack(delivery_tag)  # type: ignore[attr-defined]  # not in Kombu's stubs
            raise


class GuardedChannel(redis.Channel):
    """A channel that drops an item it cannot read, instead of ending the process."""

    QoS = GuardedQoS

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

    def _deliver(self, message: Any, queue: str | None) -> None:
        if fault := find_fault(message):
            log.warning("dropped an item from the queue %s: %s", queue, fault)
            return
        super()._deliver(message, queue)


def install() -> None:
    """Make redis:// and rediss:// mean the guarded transport, in this process."""
    for scheme in ("redis", "rediss"):
        kombu_transport.TRANSPORT_ALIASES[scheme] = "webxen.core.transport:GuardedTransport"

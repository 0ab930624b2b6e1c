"""The format of an item on a queue, as Celery writes it with Kombu, and which items are refused.

Both sides check an item against the same list before they use it. Only the envelope in an item is signed, so
an item is dropped if a header would make its reader keep, delay, repeat or forward it.
"""

import base64
import binascii
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

#: size in bytes above which an item is dropped unread: twice the largest envelope, as Kombu encodes it in
#: base64
MAX_ITEM_BYTES = 3 << 20
#: Celery writes about twenty headers, the longest of them a few hundred bytes
MOST_HEADERS = 40
MAX_HEADERS_BYTES = 8 << 10
MAX_DEPTH = 8


class BadItem(Exception):
    """The item was not written by WebXen; the text says what is wrong."""


@dataclass(frozen=True)
class Item:
    task: str
    #: the first argument, not decoded; None if there is not exactly one
    untrusted_envelope: object


def _is_small(headers: Any) -> bool:
    if not isinstance(headers, dict) or len(headers) > MOST_HEADERS or not _is_flat(headers):
        return False
    return sum(len(str(name)) + len(str(value)) for name, value in headers.items()) <= MAX_HEADERS_BYTES


def _is_flat(value: Any, depth: int = 0) -> bool:
    """Whether the nesting is shallow enough that serialization cannot fail."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return depth < MAX_DEPTH and all(_is_flat(one, depth + 1) for one in inner)


def _is_nothing(value: Any) -> bool:
    return value is None or value in ([], {})


#: (path, check): Kombu and Celery use these fields without checking them
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
    (("headers",), _is_small),
    (("headers", "task"), lambda value: isinstance(value, str)),
    (("headers", "id"), lambda value: isinstance(value, str)),
    (("headers", "compression"), lambda value: value is None),
    # would be kept in memory until then, before the signature is checked
    (("headers", "eta"), lambda value: value is None),
    (("headers", "expires"), lambda value: value is None),
    (("headers", "retries"), lambda value: value in (None, 0)),
    (("headers", "timelimit"), lambda value: value in (None, [None, None])),
    # would make the reader send more messages, with its own account
    (("headers", "group"), _is_nothing),
    (("headers", "group_index"), lambda value: value is None),
    (("headers", "chord"), _is_nothing),
    (("headers", "chain"), _is_nothing),
    (("headers", "callbacks"), _is_nothing),
    (("headers", "errbacks"), _is_nothing),
    (("headers", "stamps"), _is_nothing),
    (("headers", "stamped_headers"), _is_nothing),
)


def find_fault(untrusted_item: object, *, may_expire: bool = False) -> str:
    """Why this item is dropped; "" if it is accepted.

    `may_expire`: the item is on the portal's own queue of periodic tasks, to which no host may write.
    """
    for path, is_good in SHAPE:
        value: Any = untrusted_item
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        if not is_good(value) and not (may_expire and path == ("headers", "expires")):
            return f"its {'.'.join(path)} is not acceptable"
    try:
        _arguments(untrusted_item)
    except BadItem as fault:
        return str(fault)
    return ""


def read_item(untrusted: bytes) -> Item:
    """Decode an item from a queue. Raises BadItem only."""
    if len(untrusted) > MAX_ITEM_BYTES:
        raise BadItem(f"it is too long ({len(untrusted)} bytes)")
    try:
        item = json.loads(untrusted)
    except (ValueError, RecursionError):
        raise BadItem("it is not JSON") from None
    if fault := find_fault(item):
        raise BadItem(fault)
    arguments = _arguments(item)
    return Item(str(item["headers"]["task"]), arguments[0] if len(arguments) == 1 else None)


def _arguments(item: Any) -> list[Any]:
    """The task's arguments. Raises BadItem if Celery would do anything beside the task."""
    try:
        text = item["body"]
        is_plain = item["properties"].get("body_encoding") is None
        body = json.loads(text if is_plain else base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError, RecursionError):
        raise BadItem("its body is not readable") from None
    if not isinstance(body, list) or len(body) != 3 or not isinstance(body[0], list):
        raise BadItem("its body is not a task's arguments")
    _, keywords, more = body
    if not _is_nothing(keywords):
        raise BadItem("it has named arguments")
    if not isinstance(more, dict) or not all(_is_nothing(value) for value in more.values()):
        raise BadItem("it would have more done than its task")
    return body[0]

"""The current request's id, client address and API token, for log lines and the audit.

They are set once, at the edge (asgi.py) or in Django's outermost middleware, so that no function has to pass
them on. Outside of a request all three are empty.
"""

import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from structlog import contextvars

HEADER = "X-Request-Id"
#: format of ids accepted from clients and proxies; an id appears in logs, rows and headers
ACCEPTED = re.compile(r"[A-Za-z0-9._-]{1,64}")
ADDRESS_CHARACTERS = 45


class RequestContext(NamedTuple):
    """What is known about the current request; unknown values are empty strings."""

    request_id: str
    address: str
    token_id: str


def choose_id(untrusted_ids: list[str]) -> str:
    """Return the id sent with the request if exactly one valid id was sent, otherwise a new one."""
    if len(untrusted_ids) == 1 and ACCEPTED.fullmatch(untrusted_ids[0]):
        return untrusted_ids[0]
    return uuid.uuid4().hex


def current() -> RequestContext:
    """Return the context of the current request; empty strings outside of a request."""
    known = contextvars.get_contextvars()
    return RequestContext(*(str(known.get(name, "")) for name in RequestContext._fields))


def current_id() -> str:
    """Return the id of the current request, or a new one outside of a request."""
    return current().request_id or choose_id([])


def begin(*, request_id: str, address: str) -> None:
    """Set the current request until the context of this task or thread ends."""
    contextvars.bind_contextvars(request_id=request_id, address=address[:ADDRESS_CHARACTERS], token_id="")


@contextmanager
def within(*, request_id: str, address: str) -> Iterator[None]:
    """Set the current request inside the block; restore the previous values afterwards."""
    with contextvars.bound_contextvars(
        request_id=request_id, address=address[:ADDRESS_CHARACTERS], token_id=""
    ):
        yield


def note_token(token_id: Any) -> None:
    """Record the API token of the current request."""
    contextvars.bind_contextvars(token_id=str(token_id))

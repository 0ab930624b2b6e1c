"""Which request is being answered: its id, the client's address, and the token it came with.

Lives here: choosing the id, and keeping the three where log lines and the audit find them. They are set once,
at the edge (asgi.py) or in Django's outermost middleware, so that no function in between has to pass them on.
Outside of a request all three are empty.
"""

import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from structlog import contextvars

HEADER = "X-Request-Id"
#: an id that a client or a proxy sends is taken if it is like this; it goes into logs, rows and headers
ACCEPTED = re.compile(r"[A-Za-z0-9._-]{1,64}")
ADDRESS_CHARACTERS = 45


class RequestContext(NamedTuple):
    """What is known about the current request; empty words where nothing is."""

    request_id: str
    address: str
    token_id: str


def choose_id(untrusted_ids: list[str]) -> str:
    """The id that came with the request, if exactly one came and it is acceptable; else a new one."""
    if len(untrusted_ids) == 1 and ACCEPTED.fullmatch(untrusted_ids[0]):
        return untrusted_ids[0]
    return uuid.uuid4().hex


def current() -> RequestContext:
    known = contextvars.get_contextvars()
    return RequestContext(*(str(known.get(name, "")) for name in RequestContext._fields))


def current_id() -> str:
    """The id of this request; a new one where there is no request."""
    return current().request_id or choose_id([])


def begin(*, request_id: str, address: str) -> None:
    """From here on, until this task or thread's context ends, this is the request."""
    contextvars.bind_contextvars(request_id=request_id, address=address[:ADDRESS_CHARACTERS], token_id="")


@contextmanager
def within(*, request_id: str, address: str) -> Iterator[None]:
    """This is the request inside the block; afterwards what was before, whatever was noted meanwhile."""
    with contextvars.bound_contextvars(
        request_id=request_id, address=address[:ADDRESS_CHARACTERS], token_id=""
    ):
        yield


def note_token(token_id: Any) -> None:
    """The request came with this token."""
    contextvars.bind_contextvars(token_id=str(token_id))

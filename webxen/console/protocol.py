"""Text frames of the console protocol, in both directions. Pure."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

SUBPROTOCOL = "webxen.console.v1"
TICKET_PREFIX = "webxen.ticket."
#: maximum size of a client's frame
MOST_FRAME_BYTES = 8 << 10

# Application close codes (4000–4999); RFC 6455 reserves 1000–2999.
BAD_FRAME = 4400
RIGHTS_GONE = 4403
MACHINE_GONE = 4404
NO_ACKNOWLEDGEMENT = 4408
TOO_MANY = 4429
TOO_LARGE = 1009
TRY_LATER = 1013


@dataclass(frozen=True)
class Ack:
    """The client has displayed everything before this offset."""

    offset: int


@dataclass(frozen=True)
class Take:
    """The client requests the input lock."""


@dataclass(frozen=True)
class Release:
    """The client releases the input lock."""


Word = Ack | Take | Release


class BadFrame(Exception):
    """A text frame that is not part of the protocol."""


def read(untrusted: str) -> Word:
    """Parse a client's frame. Raises BadFrame."""
    try:
        said = json.loads(untrusted)
    except (ValueError, RecursionError):
        raise BadFrame("the frame is not JSON") from None
    if not isinstance(said, dict):
        raise BadFrame("the frame is not an object")
    match said.get("type"):
        case "ack":
            offset = said.get("offset")
            if type(offset) is not int or not 0 <= offset < 1 << 53:
                raise BadFrame("ack needs an offset")
            return Ack(offset)
        case "take":
            return Take()
        case "release":
            return Release()
    raise BadFrame("the frame is of an unknown type")


def ticket_in(subprotocols: Iterable[str]) -> str | None:
    """Return the ticket among the offered subprotocols; None if the protocol or the ticket is missing."""
    offered = list(subprotocols)
    tickets = [word.removeprefix(TICKET_PREFIX) for word in offered if word.startswith(TICKET_PREFIX)]
    return tickets[0] if SUBPROTOCOL in offered and len(tickets) == 1 else None


def offset_in(query: str) -> int | None:
    """Return `offset=N` of the query string; 0 if there is none, None if it is not valid."""
    values = [pair.partition("=")[2] for pair in query.split("&") if pair.partition("=")[0] == "offset"]
    if not values:
        return 0
    text = values[0]
    is_number = len(values) == 1 and text.isascii() and text.isdigit() and len(text) <= 16
    return int(text) if is_number else None


def hello(*, offset: int, end: int, writer: str, is_mine: bool, viewers: int) -> str:
    """The first frame. `end`: output before this offset is old; a terminal must not answer its queries."""
    return _say("hello", offset=offset, end=end, writer=writer, mine=is_mine, viewers=viewers)


def gap(*, begin: int, end: int) -> str:
    return json.dumps({"type": "gap", "from": begin, "to": end})


def state(*, state: str, reason: str) -> str:
    return _say("state", state=state, reason=reason)


def writer(*, user: str, is_mine: bool, viewers: int) -> str:
    return _say("writer", user=user, mine=is_mine, viewers=viewers)


def _say(kind: str, **words: Any) -> str:
    return json.dumps({"type": kind, **words})

"""Parse entries of console streams. Hosts are untrusted: a host may write anything. Pure."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from webxen.core.texts import clean_line

#: a console service writes at most 32 KiB at a time
MOST_ENTRY_BYTES = 64 << 10
MOST_STATE, MOST_REASON = 20, 200
#: more than any console outputs, and still an exact number in JavaScript
OFFSET = re.compile(rb"[0-9]{1,15}")


class Piece(NamedTuple):
    """Bytes of a console from an offset, as counted by the host."""

    begin: int
    data: bytes


def offset_of(fields: Mapping[bytes, bytes]) -> int | None:
    """Return the offset of an entry; None if it has no valid one."""
    said = fields.get(b"o", b"")
    return int(said) if OFFSET.fullmatch(said) else None


def piece_of(fields: Mapping[bytes, bytes]) -> Piece | None:
    """Return the bytes of an entry; None if it has none that a console service would write."""
    begin, data = offset_of(fields), fields.get(b"d", b"")
    return Piece(begin, data) if begin is not None and 0 < len(data) <= MOST_ENTRY_BYTES else None


def state_of(state: object, reason: object) -> tuple[str, str] | None:
    """Return a console's state and reason, cleaned for display; None if there is no state."""
    if not isinstance(state, bytes) or not state:
        return None
    because = reason if isinstance(reason, bytes) else b""
    return _text(state, MOST_STATE), _text(because, MOST_REASON)


def end_in(entry_id: bytes) -> int:
    """Return the offset after an entry, which is the first part of its id; 0 if that is not valid."""
    number = entry_id.split(b"-")[0]
    return int(number) if OFFSET.fullmatch(number) else 0


def _text(untrusted: bytes, limit: int) -> str:
    return clean_line(untrusted[: 8 * limit].decode("utf-8", "replace"), limit)

"""Text frames and addresses from outside: either understood or refused, never an error of ours."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webxen.console import protocol


def test_words_are_read() -> None:
    assert protocol.read('{"type": "ack", "offset": 7}') == protocol.Ack(7)
    assert protocol.read('{"type": "take"}') == protocol.Take()
    assert protocol.read('{"type": "release", "later": 1}') == protocol.Release()


@pytest.mark.parametrize(
    "untrusted",
    [
        "",
        "[]",
        "null",
        '{"type": "resize", "rows": 0}',
        '{"type": "ack"}',
        '{"type": "ack", "offset": -1}',
        '{"type": "ack", "offset": true}',
        '{"type": "ack", "offset": 1.5}',
        '{"type": "ack", "offset": 9007199254740992}',
        '{"type": ["ack"]}',
        "[" * 8000,
        '{"a":' * 1600,
    ],
)
def test_nonsense_is_refused(untrusted: str) -> None:
    with pytest.raises(protocol.BadFrame):
        protocol.read(untrusted)


@given(st.text() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_whatever_comes_is_answered(untrusted: str) -> None:
    with contextlib.suppress(protocol.BadFrame):
        assert isinstance(protocol.read(untrusted), protocol.Ack | protocol.Take | protocol.Release)


@pytest.mark.parametrize(
    ("query", "offset"),
    [
        ("", 0),
        ("offset=0", 0),
        ("offset=12345", 12345),
        ("a=b&offset=7", 7),
        ("offset=-1", None),
        ("offset=", None),
        ("offset=1&offset=2", None),
        ("offset=%31", None),
        ("offset=٣", None),
        ("offset=1" + "0" * 20, None),
    ],
)
def test_offset_in_a_query(query: str, offset: int | None) -> None:
    assert protocol.offset_in(query) == offset


@pytest.mark.parametrize(
    ("offered", "ticket"),
    [
        (["webxen.console.v1", "webxen.ticket.abc"], "abc"),
        (["webxen.ticket.abc", "webxen.console.v1"], "abc"),
        (["webxen.ticket.abc"], None),
        (["webxen.console.v1"], None),
        (["webxen.console.v1", "webxen.ticket.a", "webxen.ticket.b"], None),
        (["webxen.console.v2", "webxen.ticket.abc"], None),
        ([], None),
    ],
)
def test_ticket_among_subprotocols(offered: list[str], ticket: str | None) -> None:
    assert protocol.ticket_in(offered) == ticket

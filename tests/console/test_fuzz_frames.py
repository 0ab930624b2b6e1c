"""Whatever frames a client sends: obeyed, or the socket is closed with a code of ours. Never an error.

The socket's own code, with a hub of the test's own in the place of Redis.
"""

import asyncio
import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from webxen.console import protocol
from webxen.console.consumers import Closing, ConsoleSocket
from webxen.console.participants import Participant, Presence, Typed

QUICK = settings(max_examples=100, deadline=None)
LONG = settings(max_examples=5000, deadline=None)
SEAT = Participant("seat", 1, "alice", "0199a1e7-2e4a-4a2a-a363-405d99723003", "xen1", None)
PRINTED = b"login: " * 1000
OUR_CODES = {protocol.BAD_FRAME, protocol.TOO_LARGE}

NUMBERS = st.integers(-2, 8000) | st.sampled_from([1 << 53, 2**63, -(2**63), 10**400]) | st.floats()
WORDS = st.fixed_dictionaries(
    {"type": st.sampled_from(["ack", "take", "release", "resize", "hello", "Ack", ""]) | st.lists(st.none())},
    optional={"offset": NUMBERS | st.booleans() | st.none() | st.text(max_size=5), "rows": NUMBERS},
)
TEXTS = (
    WORDS.map(json.dumps)
    | st.text(max_size=30)
    | st.sampled_from(
        ["[" * 8000, '{"a":' * 1600, "x" * 8193, '{"type":"ack","offset":NaN}', "\ud800", "null"]
    )
)
BYTES = st.binary(max_size=50) | st.sampled_from([b"x" * 8192, b"x" * 8193, b"\xff\xfe", b"\x1d", b""])
FRAMES = (
    TEXTS.map(lambda text: {"type": "websocket.receive", "text": text})
    | BYTES.map(lambda data: {"type": "websocket.receive", "bytes": data})
    | st.just({"type": "websocket.receive"})
    | st.just({"type": "websocket.receive", "bytes": None, "text": None})
)


class Participants:
    """Lets everybody in and keeps what is typed."""

    def __init__(self) -> None:
        self.typed, self.pen = b"", "nobody's"

    async def enter(self, participant: Participant) -> bool:
        return True

    async def leave(self, participant: Participant) -> None:
        self.pen = "left"

    async def renew(self, participant: Participant) -> None:
        pass

    async def company(self, participant: Participant) -> Presence:
        return Presence("alice", is_mine=True, viewers=1)

    async def type(self, participant: Participant, data: bytes) -> Typed:
        self.typed += data
        return Typed.SENT

    async def take(self, participant: Participant) -> None:
        self.pen = "mine"

    async def release(self, participant: Participant) -> None:
        self.pen = "nobody's"


class Tail:
    state, news, end, place = ("attached", ""), 0, len(PRINTED), SEAT


class Hub:
    def __init__(self) -> None:
        self.participants = Participants()

    async def follow(self, host: str, machine_id: str, wake: Any, *, came_from: str) -> Tail:
        return Tail()

    async def start_of(self, tail: Tail) -> int:
        return 0

    async def read(self, tail: Tail, position: int) -> tuple[int, bytes]:
        return position, PRINTED[position:]

    def leave(self, tail: Tail, wake: Any) -> None:
        pass


async def talk_to_it(frames: list[dict[str, Any]]) -> tuple[int | None, Hub, list[dict[str, Any]]]:
    """The code it closed with, None where the client went first; what was typed; what was sent."""
    coming: Iterator[dict[str, Any]] = iter([*frames, {"type": "websocket.disconnect"}])
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0)
        return next(coming)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    hub = Hub()
    socket = ConsoleSocket(hub, SEAT, None, receive, send)  # type: ignore[arg-type]
    try:
        await socket.run(0)
    except Closing as closing:
        return closing.code, hub, sent
    return None, hub, sent


def is_good(frame: dict[str, Any]) -> bool:
    """Said anew, from the document of the socket."""
    data, text = frame.get("bytes"), frame.get("text")
    if len(data or text or "") > 8192:
        return False
    if data or text is None:
        return True
    with contextlib.suppress(protocol.BadFrame):
        return bool(protocol.read(text))
    return False


def judge(frames: list[dict[str, Any]]) -> None:
    code, hub, sent = asyncio.run(talk_to_it(frames))
    good = next((number for number, frame in enumerate(frames) if not is_good(frame)), len(frames))
    assert code is None if good == len(frames) else code in OUR_CODES
    # all that was typed before, in its order, and nothing of what came after
    assert hub.participants.typed == b"".join(frame.get("bytes") or b"" for frame in frames[:good])
    assert hub.participants.pen == "left"
    # nothing a client says is said back to it, but for the console itself
    assert all(
        json.loads(item["text"])["type"] in ("hello", "state", "gap", "writer")
        for item in sent
        if "text" in item
    )
    assert PRINTED.startswith(b"".join(item["bytes"] for item in sent if "bytes" in item))


class TestFrames:
    @QUICK
    @given(st.lists(FRAMES, max_size=8))
    def test_are_obeyed_or_close_the_socket(self, frames: list[dict[str, Any]]) -> None:
        judge(frames)

    @pytest.mark.campaign
    @LONG
    @given(st.lists(FRAMES, max_size=40))
    def test_are_obeyed_or_close_the_socket_for_long(self, frames: list[dict[str, Any]]) -> None:
        judge(frames)

    def test_ten_thousand_at_once_close_it(self) -> None:
        frames = [{"type": "websocket.receive", "text": '{"type": "take"}'}] * 10_000
        code, _, _ = asyncio.run(talk_to_it(frames))
        assert code == protocol.BAD_FRAME

"""xl's own protocol, read as it passes: where the domain ends, how many passes, and nothing but its words."""

import pytest

from devtools.fakexl.moving import CLOSING, _memory, _opening
from devtools.fakexl.state import Domain
from worker.relay.xl_stream import (
    BANNER,
    GO,
    READY,
    RECORD,
    REPORT,
    SAVE_HEADER,
    BadStream,
    DomainStream,
    Go,
    Replies,
)

GUEST = Domain(3, "u", "m-1", "pvh", 64, 64, 1, {"nics": []})
MEMORY = b"".join(_memory(2))
STREAM = _opening(GUEST) + MEMORY + MEMORY + b"".join(_memory(1)) + CLOSING


class TestDomainStream:
    @pytest.mark.parametrize("step", [3, 61, 4096, len(STREAM) + 100])
    def test_ends_where_the_domain_ends_however_it_is_cut(self, step: int) -> None:
        stream = DomainStream()
        data = STREAM + GO
        taken = 0
        while not stream.is_ended:
            taken += stream.feed(data[taken : taken + step])
        assert taken == len(STREAM)
        assert (stream.kind, stream.passes, stream.bytes) == ("HVM", 3, len(STREAM))
        assert stream.pages == (128 + 128 + 64) // 4

    def test_never_asks_for_more_than_the_domain_has(self) -> None:
        stream, at = DomainStream(), 0
        while not stream.is_ended:
            at += stream.feed(STREAM[at : at + stream.due])
        assert at == len(STREAM)

    def test_knows_a_pv_guest(self) -> None:
        stream = DomainStream()
        stream.feed(_opening(Domain(3, "u", "m-1", "pv", 64, 64, 1, {"nics": []})))
        assert stream.kind == "PV"

    @pytest.mark.parametrize(
        "data",
        [
            b"GET / HTTP/1.1\r\nHost: xen2\r\nUser-Agent: curl/8.0\r\n\r\n\r\n",
            STREAM[:36] + b"\xff" + STREAM[37:],
            STREAM[: SAVE_HEADER.size - 4] + b"\xff\xff\xff\xff" + STREAM[SAVE_HEADER.size :],
            STREAM[: -len(CLOSING)] + RECORD.pack(5, (128 << 20) + 1),
        ],
        ids=["another protocol", "unknown flags", "an endless configuration", "an endless record"],
    )
    def test_builds_on_nothing_it_does_not_know(self, data: bytes) -> None:
        with pytest.raises(BadStream):
            DomainStream().feed(data)


class TestGo:
    def test_is_whole_only_when_all_of_it_is_there(self) -> None:
        go = Go()
        assert [go.feed(bytes([byte])) for byte in GO] == [False] * (len(GO) - 1) + [True]

    @pytest.mark.parametrize("data", [b"domain is mine", GO + b"x", GO + GO])
    def test_is_nothing_else(self, data: bytes) -> None:
        with pytest.raises(BadStream):
            Go().feed(data)


class TestReplies:
    def test_come_whole_and_in_their_order(self) -> None:
        replies = Replies()
        data = BANNER + READY + REPORT + b"\0"
        found = [reply for byte in data for reply in replies.feed(bytes([byte]))]
        assert [(reply.word, reply.is_good) for reply in found] == [
            ("BANNER", False),
            ("READY", False),
            ("REPORT", True),
        ]
        assert b"".join(reply.text for reply in found) == data

    def test_a_target_that_failed_gives_back(self) -> None:
        words = [(r.word, r.is_good) for r in Replies().feed(BANNER + READY + REPORT + b"\x03" + GO)]
        assert words[2:] == [("REPORT", False), ("GIVEN_BACK", False)]

    @pytest.mark.parametrize(
        "data",
        [READY, BANNER + BANNER, BANNER + READY + REPORT + b"\0" + GO, BANNER + b"Password: "],
        ids=["ready before the banner", "twice", "gives back what runs", "a prompt"],
    )
    def test_are_nothing_else(self, data: bytes) -> None:
        with pytest.raises(BadStream):
            Replies().feed(data)

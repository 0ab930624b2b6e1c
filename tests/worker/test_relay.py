"""The relay between two ends played by the test: GO passes once, late, and never after it was closed."""

import contextlib
import json
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.worker.console_bench import wait_for
from tests.worker.test_relay_stream import STREAM
from worker.contract import MoveSide
from worker.ipc import relay_client
from worker.relay import zero_runs
from worker.relay.gate import Relay, RelayPipes
from worker.relay.journal import MoveJournal
from worker.relay.xl_stream import BANNER, GO, READY, REPORT
from worker.relayd.daemon import MOST_WAITING, Relayd, Way
from worker.relayd.keys import Identity
from worker.relayd.port import HANDSHAKE_SECONDS, MOST_OTHERS
from worker.settings import read


class Ends:
    """A relay with xl and the other host played by the test."""

    def __init__(self, directory: Path, side: MoveSide, **options: int) -> None:
        self.journal = MoveJournal(directory, "job", side)
        self.journal.begin()
        from_xl, self.xl_out = os.pipe()
        self.xl_in, to_xl = os.pipe()
        peer, self.peer = socket.socketpair()
        self.peer.settimeout(10)
        self.side, self.unpacker = side, zero_runs.Unpacker()
        self.relay = Relay(RelayPipes(from_xl, to_xl, peer), self.journal, side=side, **options)
        self.relay.start()

    def say(self, data: bytes, *, by_xl: bool) -> None:
        """From a thread: a pipe takes no more than it holds."""
        if self.side == "TARGET" and not by_xl:
            data = zero_runs.pack(data)
        target = (lambda: os.write(self.xl_out, data)) if by_xl else (lambda: self.peer.sendall(data))
        threading.Thread(target=target, daemon=True).start()

    def hear(self, size: int, *, by_xl: bool) -> bytes:
        parts = b""
        is_packed = self.side == "SOURCE" and not by_xl
        while len(parts) < size:
            wanted = size - len(parts)
            piece = os.read(self.xl_in, wanted) if by_xl else self.peer.recv(1 if is_packed else wanted)
            if not piece:
                break
            parts += b"".join(self.unpacker.feed(piece)) if is_packed else piece
        return parts

    def to_ready(self, side: MoveSide) -> None:
        """Everything up to the word that the target is ready."""
        is_source = side == "SOURCE"
        self.say(BANNER, by_xl=not is_source)
        assert self.hear(len(BANNER), by_xl=is_source) == BANNER
        self.say(STREAM, by_xl=is_source)
        assert self.hear(len(STREAM), by_xl=not is_source) == STREAM
        self.say(READY, by_xl=not is_source)
        assert self.hear(len(READY), by_xl=is_source) == READY

    def close(self) -> None:
        for fd in (self.xl_out, self.xl_in):
            os.close(fd)
        self.peer.close()
        assert self.relay.wait(10)


@pytest.fixture(params=["SOURCE", "TARGET"])
def side(request: pytest.FixtureRequest) -> MoveSide:
    found: MoveSide = request.param
    return found


@pytest.fixture
def ends(tmp_path: Path, side: MoveSide) -> Iterator[Ends]:
    ends = Ends(tmp_path, side)
    yield ends
    ends.close()


def on_disk(directory: Path, side: str) -> dict[str, object]:
    found: dict[str, object] = json.loads((directory / f"job.{side.lower()}.json").read_bytes())
    return found


class TestGo:
    def test_is_on_disk_before_it_is_handed_on(self, ends: Ends, side: MoveSide, tmp_path: Path) -> None:
        ends.to_ready(side)
        assert on_disk(tmp_path, side) == {"phase": "STREAM", "go_passed": False, "closed": False}
        ends.say(GO, by_xl=side == "SOURCE")
        assert ends.hear(len(GO), by_xl=side == "TARGET") == GO
        assert on_disk(tmp_path, side) == {"phase": "GO", "go_passed": True, "closed": False}
        ends.say(REPORT + b"\0", by_xl=side == "TARGET")
        assert ends.hear(len(REPORT) + 1, by_xl=side == "SOURCE") == REPORT + b"\0"
        assert wait_for(lambda: ends.relay.is_good, "the report")
        assert on_disk(tmp_path, side)["phase"] == "REPORTED"

    def test_does_not_pass_once_the_move_was_stopped(
        self, ends: Ends, side: MoveSide, tmp_path: Path
    ) -> None:
        ends.to_ready(side)
        assert ends.relay.stop("cancelled")
        assert on_disk(tmp_path, side)["closed"] is True
        ends.say(GO, by_xl=side == "SOURCE")
        assert GO not in ends.hear(len(GO), by_xl=side == "TARGET")
        assert on_disk(tmp_path, side)["go_passed"] is False

    def test_cannot_be_stopped_any_more(self, ends: Ends, side: MoveSide) -> None:
        ends.to_ready(side)
        ends.say(GO, by_xl=side == "SOURCE")
        ends.hear(len(GO), by_xl=side == "TARGET")
        assert not ends.relay.stop("cancelled")
        assert not ends.relay.wait(0.5)

    def test_before_the_target_is_ready_breaks_the_move_off(
        self, ends: Ends, side: MoveSide, tmp_path: Path
    ) -> None:
        ends.say(STREAM + GO, by_xl=side == "SOURCE")
        assert GO not in ends.hear(len(STREAM) + len(GO), by_xl=side == "TARGET")
        assert on_disk(tmp_path, side)["go_passed"] is False
        assert ends.relay.wait(10)

    def test_does_not_pass_where_it_cannot_be_written_down(
        self, ends: Ends, side: MoveSide, tmp_path: Path
    ) -> None:
        ends.to_ready(side)
        (tmp_path / f".job.{side.lower()}.json.new").mkdir()
        ends.say(GO, by_xl=side == "SOURCE")
        assert GO not in ends.hear(len(GO), by_xl=side == "TARGET")


class TestSource:
    @pytest.mark.parametrize("side", ["SOURCE"], indirect=True)
    def test_is_told_to_take_its_guest_back_when_the_target_goes_away(self, ends: Ends) -> None:
        ends.to_ready("SOURCE")
        ends.peer.shutdown(socket.SHUT_RDWR)
        # a GO that came sooner might have gone out, and nothing would be safe
        wait_for(lambda: ends.journal.passed.closed, "the relay has noticed")
        ends.say(GO, by_xl=True)
        words = REPORT + b"\x01" + GO
        assert ends.hear(len(words), by_xl=True) == words

    @pytest.mark.parametrize("side", ["SOURCE"], indirect=True)
    def test_hears_nothing_of_the_kind_once_go_has_passed(self, ends: Ends) -> None:
        ends.to_ready("SOURCE")
        ends.say(GO, by_xl=True)
        ends.hear(len(GO), by_xl=False)
        ends.peer.shutdown(socket.SHUT_RDWR)
        assert ends.hear(1, by_xl=True) == b""

    def test_keeps_to_its_rate(self, tmp_path: Path) -> None:
        ends = Ends(tmp_path, "SOURCE", rate_mib_s=1)
        ends.say(STREAM, by_xl=True)
        ends.hear(len(STREAM), by_xl=False)
        assert ends.relay.progress().rate_mib_s <= 1.05
        ends.close()


class TestJournal:
    def test_that_cannot_be_read_says_that_go_may_have_passed(self, tmp_path: Path) -> None:
        (tmp_path / "job.target.json").write_text("{")
        journal = MoveJournal(tmp_path, "job", "TARGET")
        assert not journal.close()
        assert not journal.pass_go()

    def test_closed_stays_closed(self, tmp_path: Path) -> None:
        first = MoveJournal(tmp_path, "job", "TARGET")
        assert first.close()
        again = MoveJournal(tmp_path, "job", "TARGET")
        assert not again.pass_go()
        assert again.close()


class Tls:
    """As an SSLSocket whose library holds bytes that the kernel, and so poll, does not know of."""

    def __init__(self, data: bytes = b"") -> None:
        self.held = data
        self.sent = b""

    def recv_into(self, room: memoryview) -> int:
        if not self.held:
            raise ssl.SSLWantReadError
        piece = self.held[: min(len(room), 16384)]
        room[: len(piece)] = piece
        self.held = self.held[len(piece) :]
        return len(piece)

    def send(self, data: memoryview) -> int:
        self.sent += bytes(data)
        return len(data)


class TestWay:
    def test_does_not_wait_for_what_it_left_unread_for_want_of_room(self) -> None:
        data = os.urandom(MOST_WAITING + 10)
        source, target = Tls(data), Tls()
        way = Way(source, target)  # type: ignore[arg-type]
        way.move()
        assert (len(target.sent), way.is_unread, way.has_room) == (MOST_WAITING, True, True)
        way.move()
        assert (target.sent, way.is_unread) == (data, False)


def is_let_go(stranger: socket.socket) -> bool:
    stranger.setblocking(False)
    try:
        return stranger.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def is_open(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True


class TestRelayd:
    @pytest.fixture
    def two(self, tmp_path: Path) -> Iterator[list[Path]]:
        found, daemons = [], []
        for name in ("here", "there"):
            (tmp_path / name).mkdir()
            env = {
                "WEBXEN_HOST": name,
                "WEBXEN_RELAY_SOCKET": str(tmp_path / name / "s"),
                "WEBXEN_RELAY_DIR": str(tmp_path / name),
                "WEBXEN_RELAY_ADDRESS": "127.0.0.1",
            }
            daemons.append(Relayd(read(env, needs_broker=False)))
            threading.Thread(target=daemons[-1].serve_for_ever, daemon=True).start()
            found.append(tmp_path / name / "s")
        yield found
        for daemon in daemons:
            daemon.stop()

    def test_carries_both_ways_to_the_end(self, two: list[Path]) -> None:
        here, there = two
        listening, port = relay_client.listen(there, certificate=relay_client.identify(here).certificate)
        known = relay_client.identify(there)
        going = relay_client.connect(here, address=known.address, port=port, certificate=known.certificate)
        assert relay_client.is_connected(going, wait_seconds=10)
        assert relay_client.is_connected(listening, wait_seconds=10)
        data = os.urandom(3 << 20)
        threading.Thread(target=lambda: (going.sendall(data), going.close()), daemon=True).start()
        heard = b""
        while piece := listening.recv(1 << 16):
            heard += piece
        assert heard == data
        listening.close()

    def test_does_not_wait_for_one_who_came_before_and_says_nothing(self, two: list[Path]) -> None:
        here, there = two
        listening, port = relay_client.listen(there, certificate=relay_client.identify(here).certificate)
        known = relay_client.identify(there)
        with socket.create_connection(("127.0.0.1", port)), socket.create_connection(("127.0.0.1", port)):
            going = relay_client.connect(
                here, address=known.address, port=port, certificate=known.certificate
            )
            assert relay_client.is_connected(going, wait_seconds=10)
            assert relay_client.is_connected(listening, wait_seconds=10)
        going.close()
        listening.close()

    @pytest.mark.parametrize("source", ["", "127.0.0.1", "192.0.2.7"])
    @pytest.mark.parametrize("word", [b"", b"\x16\x03\x01\x02\x00", b"GET / HTTP/1.1\r\n\r\n"])
    @pytest.mark.parametrize("count", [16, 200])
    def test_lets_it_in_at_once_however_many_strangers_are_at_the_port(
        self, two: list[Path], count: int, word: bytes, source: str
    ) -> None:
        here, there = two
        listening, port = relay_client.listen(
            there, certificate=relay_client.identify(here).certificate, source=source
        )
        known = relay_client.identify(there)
        threads, began = threading.active_count(), time.monotonic()
        with contextlib.ExitStack() as strangers:
            for _ in range(count):
                one = strangers.enter_context(socket.create_connection(("127.0.0.1", port)))
                one.sendall(word)
            going = relay_client.connect(
                here, address=known.address, port=port, certificate=known.certificate
            )
            assert relay_client.is_connected(going, wait_seconds=10)
            assert relay_client.is_connected(listening, wait_seconds=10)
            assert threading.active_count() <= threads + 2
        # a silent stranger alone had thirty seconds
        assert time.monotonic() - began < HANDSHAKE_SECONDS + 5
        going.close()
        listening.close()

    def test_holds_few_of_many_and_none_of_them_for_long(self, two: list[Path]) -> None:
        here, there = two
        listening, port = relay_client.listen(there, certificate=relay_client.identify(here).certificate)
        with contextlib.ExitStack() as stack:
            strangers = [
                stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(100)
            ]
            wait_for(lambda: len(list(filter(is_let_go, strangers))) >= 100 - MOST_OTHERS, "most have to go")
            wait_for(lambda: all(map(is_let_go, strangers)), "the others too", HANDSHAKE_SECONDS + 5)
        listening.close()

    def test_listens_at_its_own_address_alone_and_only_while_it_is_told_to(self, two: list[Path]) -> None:
        here, there = two
        listening, port = relay_client.listen(there, certificate=relay_client.identify(here).certificate)
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.2", port))
        listening.close()
        wait_for(lambda: not is_open(port), "the port is closed")

    def test_lets_in_nobody_but_the_one_that_was_named(self, two: list[Path], tmp_path: Path) -> None:
        here, there = two
        (tmp_path / "stranger").mkdir()
        other = Identity(tmp_path / "stranger").certificate
        listening, port = relay_client.listen(there, certificate=other)
        known = relay_client.identify(there)
        going = relay_client.connect(here, address=known.address, port=port, certificate=known.certificate)
        with pytest.raises(relay_client.RelayAway):
            relay_client.is_connected(going, wait_seconds=10)
        assert not relay_client.is_connected(listening, wait_seconds=0.2)
        going.close()
        listening.close()

    def test_goes_to_nobody_but_the_one_that_was_named(self, two: list[Path], tmp_path: Path) -> None:
        here, there = two
        (tmp_path / "stranger").mkdir()
        listening, port = relay_client.listen(there, certificate=relay_client.identify(here).certificate)
        other = Identity(tmp_path / "stranger").certificate
        going = relay_client.connect(here, address="127.0.0.1", port=port, certificate=other)
        with pytest.raises(relay_client.RelayAway):
            relay_client.is_connected(going, wait_seconds=10)
        going.close()
        listening.close()

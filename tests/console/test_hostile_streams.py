"""A host may write anything into its own console streams: other consoles, and this process, do not notice."""

import asyncio
import contextlib
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.worker.console_bench import Broker
from webxen.console import bounded, reading, relay, stream_history
from webxen.console.entries import MOST_ENTRY_BYTES
from worker.contract import console_out_key, console_state_key

ID = "0199a1e7-2e4a-4a2a-a363-0000000000{:02x}"
MINE, OTHER = ID.format(1), ID.format(2)
POISON: list[dict[Any, Any]] = [
    {"d": b"no offset"},
    {"d": b"x", "o": b"not a number"},
    {"d": b"x", "o": b"-5"},
    {"d": b"x", "o": b"9" * 5000},
    {"d": b"x", "o": b"\xff\xfe"},
    {"d": b"", "o": b"0"},
    {"d": b"x" * (MOST_ENTRY_BYTES + 1), "o": b"0"},
    {"s": b"\xff\xfe\x80", "r": b"\xff"},
    {"s": b"x" * 100_000, "r": b"y" * 100_000},
    {"s": b"", "r": b""},
    {"r": b"alone"},
    {"": b""},
    {b"\xff": b"\xff"},
]


class Rings:
    """Somebody who looks."""

    def __init__(self) -> None:
        self.bell = asyncio.Event()

    async def until(self, look: Any) -> None:
        async with asyncio.timeout(20):
            while not look():
                self.bell.clear()
                if not look():
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self.bell.wait(), 0.5)


@pytest.fixture
async def hub(broker: Broker) -> Any:
    hub = relay.Hub(broker.url)
    yield hub
    await hub.close()


@pytest.fixture
async def redis(broker: Broker) -> Any:
    client = Redis.from_url(broker.url, protocol=2)
    yield client
    await client.aclose()


async def prints(redis: Any, host: str, machine: str, begin: int, data: bytes) -> None:
    end = begin + len(data)
    await redis.xadd(console_out_key(host, machine), {"o": begin, "d": data}, id=f"{end}-*")


def text(tail: relay.Tail) -> bytes:
    return b"".join(data for _, data in tail._recent)


class TestPoison:
    @pytest.mark.parametrize("entry", POISON, ids=range(len(POISON)))
    async def test_an_entry_that_no_console_service_writes_is_passed_over(
        self, hub: Any, redis: Any, entry: dict[Any, Any]
    ) -> None:
        rings = Rings()
        tail = await hub.follow("xen1", MINE, rings.bell.set)
        await prints(redis, "xen1", MINE, 0, b"good")
        await rings.until(lambda: tail.end == 4)
        await redis.xadd(console_out_key("xen1", MINE), entry, id="4-9")
        await prints(redis, "xen1", MINE, 4, b" and on")
        await rings.until(lambda: tail.end == 11)
        assert text(tail).endswith(b" and on")
        assert all(len(word) <= 200 and word.isprintable() for word in tail.state)
        assert await hub.read(tail, 0) is not None
        assert await hub.start_of(tail) == 0

    @pytest.mark.parametrize("entry", POISON, ids=range(len(POISON)))
    async def test_one_that_was_there_before_hinders_nobody(
        self, hub: Any, redis: Any, entry: dict[Any, Any]
    ) -> None:
        await redis.xadd(console_out_key("xen1", MINE), entry, id="1-0")
        rings = Rings()
        tail = await hub.follow("xen1", MINE, rings.bell.set)
        await hub.start_of(tail)
        begin, data = await hub.read(tail, 0)
        assert (begin, data) >= (0, b"")
        await prints(redis, "xen1", MINE, 10, b"here")
        await rings.until(lambda: tail.end == 14)

    async def test_a_state_that_is_no_text_stops_no_look(self, hub: Any, redis: Any) -> None:
        rings, beside = Rings(), Rings()
        tail = await hub.follow("xen1", MINE, rings.bell.set)
        other = await hub.follow("xen2", OTHER, beside.bell.set)
        await redis.hset(
            console_state_key("xen1", MINE), mapping={"state": b"\xff\xfe", "reason": b"\x1b[31m"}
        )
        await redis.hset(console_state_key("xen2", OTHER), mapping={"state": "attached", "reason": ""})
        await hub.look_once()
        assert other.state == ("attached", "")
        assert tail.state == ("\ufffd\ufffd", "[31m")
        await redis.delete(console_state_key("xen1", MINE))
        await redis.set(console_state_key("xen1", MINE), "no hash")
        await redis.delete(console_state_key("xen2", OTHER))
        await hub.look_once()
        assert tail.state == other.state == relay.SILENT

    async def test_a_key_that_is_no_stream_is_told_at_that_console_alone(self, hub: Any, redis: Any) -> None:
        await redis.set(console_out_key("xen1", MINE), "no stream")
        rings, beside = Rings(), Rings()
        tail = await hub.follow("xen1", MINE, rings.bell.set)
        other = await hub.follow("xen2", OTHER, beside.bell.set)
        await rings.until(lambda: tail.state == reading.UNREADABLE)
        await prints(redis, "xen2", OTHER, 0, b"quick")
        await beside.until(lambda: other.end == 5)
        assert other.state != reading.BROKER_AWAY
        await redis.delete(console_out_key("xen1", MINE))
        await prints(redis, "xen1", MINE, 0, b"well again")
        await rings.until(lambda: tail.end == 10)

    async def test_a_move_past_poison_counts_on(self, redis: Any) -> None:
        old, new = console_out_key("xen1", MINE), console_out_key("xen2", MINE)
        await redis.xadd(old, {"d": b"x"}, id="7-0")
        await redis.xadd(new, {"d": b"x", "o": b"what"}, id="3-0")
        there = await stream_history.arrive(redis, "xen2", MINE, old=stream_history.Place("xen1", 0, 0))
        assert there == stream_history.Place("xen2", 3, 4)


class TestLargeEntries:
    async def test_an_answer_that_is_too_large_is_never_taken_in(self, broker: Broker, redis: Any) -> None:
        await redis.xadd("big", {"d": b"x" * (bounded.MOST_ANSWER_BYTES + 1)})
        client = bounded.connect(broker.url, timeout_seconds=20)
        with pytest.raises(bounded.TooMuch):
            await client.xrange("big")
        assert await client.ping()
        await redis.xadd(
            "many", {str(n): b"" for n in range(bounded.MOST_ANSWER_BYTES // bounded.ITEM_BYTES)}
        )
        with pytest.raises(bounded.TooMuch):
            await client.xrange("many")
        await client.aclose()

    async def test_they_are_skipped_and_what_comes_after_is_shown(self, hub: Any, redis: Any) -> None:
        rings, beside = Rings(), Rings()
        tail = await hub.follow("xen1", MINE, rings.bell.set)
        other = await hub.follow("xen2", OTHER, beside.bell.set)
        for number in range(1, 4):
            await redis.xadd(console_out_key("xen1", MINE), {"d": b"x" * (9 << 20), "o": 0}, id=f"{number}-0")
        await prints(redis, "xen2", OTHER, 0, b"quick")
        await beside.until(lambda: other.end == 5)
        await rings.until(lambda: tail.last_id == "3-0")
        assert text(tail) == b""
        await prints(redis, "xen1", MINE, 100, b"after")
        await rings.until(lambda: tail.end == 105)
        assert await hub.read(tail, 0) == (105, b"")
        assert await hub.start_of(tail) == 105

    async def test_staff_is_told_once_in_a_while_which_host_wrote_them(
        self, broker: Broker, redis: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(reading, "RETRY_SECONDS", 0.01)
        noted: list[str] = []

        async def note(host: str) -> None:
            noted.append(host)

        hub, rings = relay.Hub(broker.url, note_flood=note), Rings()
        tail = await hub.follow("xen1", MINE, rings.bell.set)
        for number in range(1, 4):
            await redis.xadd(console_out_key("xen1", MINE), {"d": b"x" * (9 << 20), "o": 0}, id=f"{number}-0")
            await rings.until(lambda last=f"{number}-0": tail.last_id == last)
        await hub.close()
        assert noted == ["xen1"]

    async def test_a_console_whose_last_entry_is_one_can_be_opened(self, hub: Any, redis: Any) -> None:
        await redis.xadd(console_out_key("xen1", MINE), {"d": b"x" * (9 << 20), "o": 0}, id="5-0")
        tail = await hub.follow("xen1", MINE, Rings().bell.set)
        assert (tail.last_id, tail.end) == ("5-0", 5)


class TestReaders:
    async def test_there_is_one_a_host_and_it_begins_anew_after_an_error(
        self, hub: Any, redis: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rings = Rings()
        tail = await hub.follow("xen1", MINE, rings.bell.set)
        await hub.follow("xen1", OTHER, Rings().bell.set)
        await hub.follow("xen2", OTHER, Rings().bell.set)
        assert sorted(hub._readers) == ["xen1", "xen2"]
        assert sorted(hub.tails_of("xen1")) == sorted(console_out_key("xen1", one) for one in (MINE, OTHER))
        monkeypatch.setattr(reading, "RETRY_SECONDS", 0.01)
        broken = {"left": 2}
        take_in = tail.take_in

        def break_twice(*read: Any) -> None:
            if broken["left"]:
                broken["left"] -= 1
                raise KeyError("a bug")
            take_in(*read)

        tail.take_in = break_twice
        await prints(redis, "xen1", MINE, 0, b"there")
        await rings.until(lambda: tail.end == 5)

    async def test_a_task_that_all_consoles_need_begins_anew(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(relay, "RETRY_SECONDS", 0.01)
        begun = []

        async def work() -> None:
            begun.append(1)
            if len(begun) < 4:
                raise ValueError("a bug")
            await asyncio.Event().wait()

        task = asyncio.create_task(relay._work_on(work))
        async with asyncio.timeout(10):
            while len(begun) < 4:  # noqa: ASYNC110 - nothing rings
                await asyncio.sleep(0.01)
        await reading.end_tasks(task)

    async def test_more_streams_than_are_asked_for_at_once_are_all_read(
        self, hub: Any, redis: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(reading, "MOST_STREAMS", 2)
        rings = Rings()
        tails = [await hub.follow("xen1", ID.format(n), rings.bell.set) for n in range(5)]
        for n in range(5):
            await prints(redis, "xen1", ID.format(n), 0, b"x" * (n + 1))
        await rings.until(lambda: [tail.end for tail in tails] == [1, 2, 3, 4, 5])

    async def test_a_host_that_floods_keeps_no_other_waiting(self, hub: Any, redis: Any) -> None:
        beside, echoed = Rings(), 0
        await hub.follow("xen1", MINE, Rings().bell.set)
        other = await hub.follow("xen2", OTHER, beside.bell.set)

        async def flood() -> None:
            key = console_out_key("xen1", MINE)
            while True:
                pipe = redis.pipeline(transaction=False)
                for entry in POISON[:4] * 50:
                    pipe.xadd(key, entry, maxlen=20_000)
                await pipe.execute()

        flooding = asyncio.create_task(flood())
        for _ in range(20):
            await prints(redis, "xen2", OTHER, echoed, b"key!")
            echoed += 4
            await beside.until(lambda wanted=echoed: other.end == wanted)
        await reading.end_tasks(flooding)
        assert text(other) == b"key!" * 20


class TestAllowance:
    def test_who_took_too_much_waits(self) -> None:
        allowance = reading.Allowance(1000)
        assert allowance.take(500) == 0
        assert 0.4 < allowance.take(1000) <= 0.5

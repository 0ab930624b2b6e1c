"""A client's connection: its head comes in time and in few bytes, and there are so many at most."""

import asyncio
from contextlib import asynccontextmanager

import pytest
import uvicorn

from webxen.core import connections
from webxen.core.connections import GuardedHttp

#: the clients' ends, to be closed after the test
OPENED: list[asyncio.StreamWriter] = []
ASK = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"


async def answers(scope, receive, send):
    """Answers at once; /hold never, and /large with more than the kernel keeps for one who does not read."""
    if scope["path"] == "/hold":
        await receive()  # the body
        await receive()  # the end of the connection
        return
    size = 64 << 20 if scope["path"] == "/large" else 2
    headers = [(b"content-length", str(size).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for _ in range(max(size >> 20, 1)):
        await send({"type": "http.response.body", "body": b"x" * min(size, 1 << 20), "more_body": True})
    await send({"type": "http.response.body", "body": b""})


@asynccontextmanager
async def served():
    config = uvicorn.Config(
        answers, port=0, lifespan="off", log_level="critical", http=GuardedHttp, timeout_keep_alive=60
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn tells it by this flag alone
        await asyncio.sleep(0.01)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        for writer in OPENED:
            writer.transport.abort()
        OPENED.clear()
        await asyncio.sleep(0)
        server.should_exit = server.force_exit = True
        await serving
        GuardedHttp.open_ones.clear()


async def connect(port, data=b"", address="127.0.0.1"):
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
    OPENED.append(writer)
    writer.write(data)
    return reader, writer


async def told(reader):
    """All that is told until the connection ends."""
    async with asyncio.timeout(20):
        try:
            return await reader.read()
        except ConnectionError:
            return b"reset"


async def answer_of(reader):
    async with asyncio.timeout(20):
        head = await reader.readuntil(b"\r\n\r\n")
        return head[9:12], await reader.readexactly(2)


class TestHead:
    @pytest.mark.parametrize(
        "data", [b"", b"GET", b"GET /a HTTP/1.1\r\nHost: x\r\n", ASK + b"GET /b", ASK + b"\r\n", b"\r\n\r\n"]
    )
    async def test_that_does_not_come_ends_the_connection(self, data, monkeypatch):
        monkeypatch.setattr(connections, "HEAD_SECONDS", 0.1)
        async with served() as port:
            reader, writer = await connect(port, data)
            if data.startswith(ASK):
                assert await answer_of(reader) == (b"200", b"xx")
                writer.write(b"\r\n")
            assert await told(reader) in (b"", b"reset")
            assert not GuardedHttp.open_ones

    async def test_that_comes_in_drops_does_not_hold_it_open(self, monkeypatch):
        monkeypatch.setattr(connections, "HEAD_SECONDS", 0.3)
        async with served() as port:
            reader, writer = await connect(port, b"GET /a HTTP/1.1\r\n")
            ended = asyncio.create_task(told(reader))
            while not ended.done():
                writer.write(b"X-A: b\r\n")
                await asyncio.sleep(0.02)
            assert await ended in (b"", b"reset")

    @pytest.mark.parametrize(
        "data",
        [
            b"GET /a HTTP/1.1\r\nCookie: " + b"x" * 100_000,
            b"GET /" + b"a" * 100_000,
            b"GET /a HTTP/1.1\r\nCookie: " + b"x" * 40_000 + b"\r\n\r\n",
            b"GET /a HTTP/1.1\r\n" + b"A: b\r\n" * 101 + b"\r\n",
            b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\n\r\n",
        ],
        ids=["endless header", "endless address", "long header", "many headers", "long address"],
    )
    async def test_that_is_too_large_is_refused(self, data):
        async with served() as port:
            reader, _writer = await connect(port, data)
            # a refusal may be lost where the client was still sending
            assert (await told(reader))[9:12] in (b"400", b"431", b"")

    async def test_of_the_next_request_is_as_good_as_the_first(self):
        async with served() as port:
            reader, writer = await connect(port, ASK)
            for _ in range(40):
                assert await answer_of(reader) == (b"200", b"xx")
                writer.write(ASK[:-30] + ASK)

    async def test_that_comes_far_ahead_ends_the_connection(self):
        async with served() as port:
            reader, _writer = await connect(port, b"GET /hold HTTP/1.1\r\nHost: x\r\n\r\n" + ASK * 2000)
            assert (await told(reader))[9:12] in (b"400", b"")

    async def test_that_comes_a_little_ahead_is_answered_in_order(self):
        async with served() as port:
            reader, _writer = await connect(port, ASK * 4)
            assert [await answer_of(reader) for _ in range(4)] == [(b"200", b"xx")] * 4


class TestAnswer:
    async def test_that_nobody_reads_ends_the_connection(self, monkeypatch):
        monkeypatch.setattr(connections, "STALL_SECONDS", 0.1)
        async with served() as port:
            _reader, writer = await connect(port, b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
            writer.transport.pause_reading()
            async with asyncio.timeout(20):
                while not GuardedHttp.open_ones:  # noqa: ASYNC110 - what the server knows
                    await asyncio.sleep(0.01)
                while GuardedHttp.open_ones:  # noqa: ASYNC110 - what the server knows
                    await asyncio.sleep(0.01)
            writer.close()

    async def test_that_is_awaited_may_take_its_time(self, monkeypatch):
        monkeypatch.setattr(connections, "STALL_SECONDS", 0.05)
        monkeypatch.setattr(connections, "HEAD_SECONDS", 0.05)
        async with served() as port:
            reader, _writer = await connect(port, b"GET /hold HTTP/1.1\r\nHost: x\r\n\r\n")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(), 0.5)


class TestNumber:
    @pytest.fixture(autouse=True)
    def four_at_most(self, settings):
        settings.WEBXEN_CONNECTIONS = 4

    async def test_silent_ones_give_way_the_oldest_first(self):
        async with served() as port:
            silent = [await connect(port, address="127.0.0.2") for _ in range(4)]
            await asyncio.sleep(0.05)
            reader, _writer = await connect(port, ASK)
            assert await answer_of(reader) == (b"200", b"xx")
            assert await told(silent[0][0]) in (b"", b"reset")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(silent[1][0].read(), 0.1)

    async def test_another_address_gives_way_even_where_it_asks(self):
        async with served() as port:
            busy = [
                await connect(port, b"GET /hold HTTP/1.1\r\nHost: x\r\n\r\n", "127.0.0.2") for _ in range(4)
            ]
            await asyncio.sleep(0.05)
            reader, _writer = await connect(port, ASK)
            assert await answer_of(reader) == (b"200", b"xx")
            assert await told(busy[0][0]) in (b"", b"reset")

    async def test_where_all_ask_from_one_address_one_more_is_told_to_come_again(self):
        async with served() as port:
            busy = [await connect(port, b"GET /hold HTTP/1.1\r\nHost: x\r\n\r\n") for _ in range(4)]
            await asyncio.sleep(0.05)
            reader, _writer = await connect(port)
            assert (await told(reader)).startswith(b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\n")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(busy[0][0].read(), 0.1)

    async def test_leaves_descriptors_for_the_database(self, settings):
        settings.WEBXEN_CONNECTIONS = 100_000
        assert connections.most_connections(descriptors=1024) == 1024 - connections.SPARE_DESCRIPTORS
        settings.WEBXEN_CONNECTIONS = 500
        assert connections.most_connections(descriptors=1024) == 500
        assert connections.most_connections(descriptors=10) == 1


class TestStart:
    @pytest.mark.parametrize(
        "file",
        ["docker-compose.yml", "devtools/lab/portal.py", "docs/operating.md", "tests/bench/quota_race.py"],
    )
    def test_has_the_guard_wherever_the_web_server_is_started(self, file):
        from tests.conventions.tree import ROOT

        assert "webxen.core.connections:GuardedHttp" in (ROOT / file).read_text()

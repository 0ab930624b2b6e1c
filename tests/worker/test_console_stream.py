"""The way up to Redis, when a round of it is broken off."""

import asyncio
import contextlib
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import pytest

from tests.worker.console_bench import HOST, Broker
from worker.console.log import ConsoleLog
from worker.console.stream import Stream, Uplink, end_tasks


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    broker = Broker(tmp_path)
    broker.start()
    yield broker
    broker.stop()


class NoKeyboard:
    def is_full(self, machine_id: str) -> bool:
        return False

    def type_at(self, machine_id: str, data: bytes) -> None:
        raise AssertionError("nobody types here")


class Relay:
    """Stands before the broker; what is asked gets through, what is answered may be held back."""

    def __init__(self, broker: Broker, socket: Path) -> None:
        self._broker, self._socket = broker, socket
        self.answers = asyncio.Event()
        self.answers.set()
        self.url = f"unix://{socket}"
        self._passing: list[asyncio.Task[None]] = []
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_unix_server(self._serve, self._socket)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await end_tasks(*self._passing)
        for writer in self._writers:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_unix_connection(self._broker.socket)
        self._writers += [writer, up_writer]
        for work in (self._pass(reader, up_writer), self._pass(up_reader, writer, self.answers)):
            self._passing.append(asyncio.create_task(work))

    @staticmethod
    async def _pass(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gate: asyncio.Event | None = None
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                if gate is not None:
                    await gate.wait()
                writer.write(data)
                await writer.drain()
        writer.close()


async def until(look: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not look():  # noqa: ASYNC110 - another process changes it
            await asyncio.sleep(0.01)


async def test_bytes_whose_answer_never_came_are_not_told_twice(broker: Broker, tmp_path: Path) -> None:
    machine_id = str(uuid.uuid4())
    log = ConsoleLog(tmp_path, machine_id)
    stream = Stream(HOST, log)
    with broker.client() as client:
        async with Relay(broker, tmp_path / "relay.sock") as relay:
            uplink = Uplink(relay.url, NoKeyboard())
            uplink.streams[machine_id] = stream
            publishing = asyncio.create_task(uplink.publish())
            uplink.wake()
            await until(lambda: client.xlen(stream.out_key))
            relay.answers.clear()
            log.append(b"taken, not confirmed")
            uplink.wake()
            await until(lambda: client.xlen(stream.out_key) == 2)
            await end_tasks(publishing)  # what SIGTERM does
            relay.answers.set()
            log.append(b"; and more")
            await uplink.publish_last()
        pieces = [fields for _, fields in client.xrange(stream.out_key) if b"d" in fields]
    log.close()
    assert [(int(fields[b"o"]), fields[b"d"]) for fields in pieces] == [
        (0, b"taken, not confirmed"),
        (20, b"; and more"),
    ]


class Typist(NoKeyboard):
    """Takes what is typed."""

    typed = b""

    def type_at(self, machine_id: str, data: bytes) -> None:
        self.typed += data


async def printed_slowly(broker: Broker, directory: Path, *, typed: bytes, lines: int) -> list[bytes]:
    """A guest prints a line every 10 ms, perhaps after something was typed; the pieces that went up."""
    machine_id, typist = str(uuid.uuid4()), Typist()
    stream = Stream(HOST, ConsoleLog(directory, machine_id))
    uplink = Uplink(broker.url, typist)
    uplink.streams[machine_id] = stream
    uplink.hear([machine_id])
    tasks = [asyncio.create_task(work) for work in (uplink.publish(), uplink.listen())]
    with broker.client() as client:
        uplink.wake()
        await until(lambda: not stream.is_behind)
        if typed:
            client.xadd(stream.in_key, {"d": typed})
            await until(lambda: typist.typed == typed)
        for number in range(lines):
            stream.log.append(b"line %d\r\n" % number)
            uplink.wake()
            await asyncio.sleep(0.01)
        await until(lambda: not stream.is_behind)
        pieces = [fields[b"d"] for _, fields in client.xrange(stream.out_key) if b"d" in fields]
    await end_tasks(*tasks)
    await uplink.publish_last()
    stream.log.close()
    return pieces


async def test_a_boot_goes_up_whole_and_in_few_pieces(broker: Broker, tmp_path: Path) -> None:
    """Each word to the broker costs a small dom0 time that its guest boots in."""
    pieces = await printed_slowly(broker, tmp_path, typed=b"", lines=50)
    assert b"".join(pieces) == b"".join(b"line %d\r\n" % number for number in range(50))
    assert len(pieces) < 25


async def test_an_echo_is_not_kept_waiting(broker: Broker, tmp_path: Path) -> None:
    pieces = await printed_slowly(broker, tmp_path, typed=b"x", lines=20)
    assert len(pieces) > 10

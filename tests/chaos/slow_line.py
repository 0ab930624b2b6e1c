"""A slow line with packet loss between the hosts and the broker.

One more row of the table. A relay on 127.0.0.1 replaces `tc netem`, which not every kernel has: above TCP, a
lost packet only delays it and everything sent after it by a retransmission. The relay never cuts a
connection; `redis_killed` does.
"""

import asyncio
import contextlib
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from tests.chaos.faults import load, row
from tests.chaos.running_stack import RunningStack

ONE_WAY_SECONDS = 0.15
LOSS = 0.05
#: Ethernet's 1500 bytes without the headers
PACKET_BYTES = 1448
#: Linux retransmits after the round trip and at least 200 ms (TCP_RTO_MIN), then after twice as long
AGAIN_SECONDS = 2 * ONE_WAY_SECONDS + 0.2
SERVICES = ("listener", "consoled")


class SlowLine:
    """Listens on its own port and forwards every connection to another."""

    def __init__(self, target: int, dice: random.Random) -> None:
        self._target, self._dice = target, dice
        self.port = self.packets = self.lost = 0

    async def serve(self, is_up: threading.Event, is_over: asyncio.Event) -> None:
        server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        is_up.set()
        async with server:
            await is_over.wait()
        # asyncio.run ends the remaining connections: the services use another route by then

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.close()
            return
        with contextlib.suppress(asyncio.CancelledError):  # the line is removed
            await asyncio.gather(self._one_way(reader, far_writer), self._one_way(far_reader, writer))

    async def _one_way(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        arriving = asyncio.create_task(self._arrive(under_way, writer))
        due, packet = 0.0, b"-"
        while packet:
            try:
                packet = await reader.read(PACKET_BYTES)
            except OSError:
                packet = b""
            due = max(due, time.monotonic() + ONE_WAY_SECONDS + self._lateness())
            under_way.put_nowait((due, packet))
        await arriving

    def _lateness(self) -> float:
        self.packets += 1
        late, again = 0.0, AGAIN_SECONDS
        while self._dice.random() < LOSS:
            self.lost += 1
            late, again = late + again, 2 * again
        return late

    async def _arrive(
        self, under_way: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter
    ) -> None:
        packet = b"-"
        while packet:
            due, packet = await under_way.get()
            await asyncio.sleep(max(due - time.monotonic(), 0))
            with contextlib.suppress(OSError):
                writer.write(packet)
                await writer.drain()
        writer.close()


@contextmanager
def laid(target: int, dice: random.Random) -> Iterator[SlowLine]:
    """Run a slow line to this port of 127.0.0.1 in a thread."""
    line, is_up, is_over, loop = SlowLine(target, dice), threading.Event(), asyncio.Event(), []

    async def serve() -> None:
        loop.append(asyncio.get_running_loop())
        await line.serve(is_up, is_over)

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    if not is_up.wait(10):
        raise TimeoutError("the slow line did not come up")
    try:
        yield line
    finally:
        loop[0].call_soon_threadsafe(is_over.set)
        thread.join(10)


@row
def slow_line(stack: RunningStack, dice: random.Random) -> list[str]:
    """hosts and broker 300 ms there and back apart, 5 % of packets lost, for 40 s"""
    port = _broker_port(stack, stack.plan.host_names[0])
    with laid(port, dice) as line:
        _lead(stack, line.port)
        for _ in range(2):
            load(stack, dice)
            time.sleep(20)
        _lead(stack, port)
    return [] if line.lost else [f"the fault was not felt: {line.packets} packets, none lost"]


def _broker_port(stack: RunningStack, host: str) -> int:
    return urlsplit((stack.desk.data / "hosts" / host / "broker.url").read_text().strip()).port or 0


def _lead(stack: RunningStack, port: int) -> None:
    """Make every host use this port of the broker from now on."""
    for host in stack.plan.host_names:
        path = stack.desk.data / "hosts" / host / "broker.url"
        known = path.read_text()
        path.write_text(known.replace(f"@127.0.0.1:{_broker_port(stack, host)}/", f"@127.0.0.1:{port}/"))
    stack.restart(*(f"{host}-{service}" for host in stack.plan.host_names for service in SERVICES))

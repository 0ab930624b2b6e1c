"""Fixtures of the console: a real server, a real Redis and the console service itself."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from asgiref.sync import sync_to_async
from django.utils import timezone
from websockets.asyncio.client import ClientConnection, connect

from tests.worker.console_bench import Broker, ConsoleHost, Guest
from webxen import asgi
from webxen.accounts.models import ApiToken, User
from webxen.console import operations, relay
from webxen.machines.models import Machine


@pytest.fixture
def broker(tmp_path: Path, settings: Any) -> Iterator[Broker]:
    broker = Broker(tmp_path)
    broker.start()
    settings.WEBXEN_REDIS_URL = broker.url
    settings.ALLOWED_HOSTS = ["127.0.0.1", "webxen.test"]
    yield broker
    broker.stop()


@pytest.fixture
def dom0(tmp_path: Path, broker: Broker) -> Iterator[ConsoleHost]:
    host = ConsoleHost(tmp_path, broker)
    yield host
    host.close()


@dataclass
class Portal:
    """A running web process."""

    port: int

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def address(self, path: str) -> str:
        return f"ws://127.0.0.1:{self.port}{path}"

    @contextlib.asynccontextmanager
    async def open(
        self, machine: Machine, ticket: str, *, offset: int | None = None, **options: Any
    ) -> AsyncIterator["Viewer"]:
        query = "" if offset is None else f"?offset={offset}"
        options.setdefault("origin", self.origin)
        async with connect(
            self.address(f"/ws/console/{machine.id}/{query}"),
            subprotocols=["webxen.console.v1", f"webxen.ticket.{ticket}"],  # type: ignore[list-item]
            compression=None,
            **options,
        ) as socket:
            yield Viewer(socket)


@dataclass
class Viewer:
    """A client that stores the frames it receives; it acknowledges unless told otherwise."""

    socket: ClientConnection
    data: bytes = b""
    told: list[dict[str, Any]] = field(default_factory=list)
    position: int = 0
    is_acknowledging: bool = True

    async def step(self) -> None:
        frame = await self.socket.recv()
        if isinstance(frame, bytes):
            self.data += frame
            self.position += len(frame)
            if self.is_acknowledging:
                await self.say(type="ack", offset=self.position)
            return
        word = json.loads(frame)
        self.told.append(word)
        if word["type"] == "hello":
            self.position = word["offset"]
        elif word["type"] == "gap":
            self.position = word["to"]

    async def until(self, look: Callable[[], object], seconds: float = 10) -> None:
        async with asyncio.timeout(seconds):
            while not look():
                await self.step()

    def words(self, kind: str) -> list[dict[str, Any]]:
        return [word for word in self.told if word["type"] == kind]

    async def say(self, **word: Any) -> None:
        await self.socket.send(json.dumps(word))

    async def types(self, data: bytes) -> None:
        await self.socket.send(data)


@pytest.fixture
async def portal(broker: Broker, transactional_db: None) -> AsyncIterator[Portal]:
    config = uvicorn.Config(
        asgi.sockets, port=0, lifespan="off", ws="websockets-sansio", log_level="warning", ws_max_size=65536
    )
    server = uvicorn.Server(config)
    config.load()
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn tells it by this flag alone
        await asyncio.sleep(0.01)
    yield Portal(server.servers[0].sockets[0].getsockname()[1])
    server.should_exit = True
    server.force_exit = True
    await serving
    await relay.hub().close()


@dataclass
class Desk:
    """alice's machine web1, running on xen1, and tickets for its console."""

    machine: Machine
    owner: User

    async def ticket(
        self, user: User | None = None, *, ago_seconds: float = 0, **asked_with: ApiToken | str
    ) -> str:
        now = timezone.now() - timedelta(seconds=ago_seconds)
        open_ticket = sync_to_async(operations.open_ticket)
        ticket, _ = await open_ticket(user=user or self.owner, machine=self.machine, now=now, **asked_with)
        return ticket


@pytest.fixture
def desk(transactional_db: None, mailbox: Any, web1: Machine, alice: User) -> Desk:
    return Desk(web1, alice)


@pytest.fixture
def guest(dom0: ConsoleHost, desk: Desk) -> Guest:
    """The domain of alice's machine, with its console served by a console service."""
    machine_id = str(desk.machine.id)
    (dom0.state_dir / "machines" / machine_id).mkdir(parents=True)
    guest = dom0.boot(machine_id, 1)
    dom0.start()
    dom0.wait_attached(machine_id)
    return guest

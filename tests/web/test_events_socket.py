"""The events socket: who may open it, and what it is told."""

import asyncio
import json
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.routing import URLRouter
from channels.testing import WebsocketCommunicator
from django.test import Client

from tests.web import away_sessions
from webxen.accounts.models import User
from webxen.core import events
from webxen.web import consumers
from webxen.web.routing import websocket_urlpatterns

OURS = b"http://testserver"


def _session(user: User | None) -> str:
    client = Client()
    if user is not None:
        client.force_login(user)
    cookie = client.cookies.get("sessionid")
    return cookie.value if cookie else ""


async def socket_of(user: User | None, origin: bytes | None = OURS) -> Any:
    session = await sync_to_async(_session)(user)
    headers = [(b"host", b"testserver"), (b"cookie", f"sessionid={session}".encode())]
    if origin is not None:
        headers.append((b"origin", origin))
    return WebsocketCommunicator(URLRouter(websocket_urlpatterns), "/ws/events/", headers=headers)


async def opens(user: User | None, origin: bytes | None = OURS) -> bool:
    socket = await socket_of(user, origin)
    is_open, _ = await socket.connect(timeout=10)
    await socket.disconnect()
    return bool(is_open)


@pytest.fixture(autouse=True)
def hosts(settings: Any, transactional_db: None) -> None:
    settings.ALLOWED_HOSTS = ["testserver"]


async def test_alice_may_open_it(alice: User) -> None:
    assert await opens(alice)


async def test_nobody_may_not(transactional_db: None) -> None:
    assert not await opens(None)


@pytest.mark.parametrize("origin", [b"http://evil.test", b"null", b"https://testserver", None])
async def test_no_foreign_page_opens_it(alice: User, origin: bytes | None) -> None:
    assert not await opens(alice, origin)


async def test_a_person_has_so_many_at_most(alice: User, charlie: User, settings: Any) -> None:
    settings.WEBXEN_EVENT_SOCKETS = 3
    sockets = [await socket_of(alice) for _ in range(4)]
    for socket in sockets[:3]:
        assert (await socket.connect(timeout=10))[0]
    await sockets[3].connect(timeout=10)
    assert await sockets[3].receive_output(timeout=10) == {"type": "websocket.close", "code": 4429}
    assert await opens(charlie)
    await sockets[0].disconnect()
    one_more = await socket_of(alice)
    assert (await one_more.connect(timeout=10))[0]
    assert await one_more.receive_nothing(timeout=0.5)
    for socket in (*sockets[1:3], one_more):
        await socket.disconnect()
    assert not consumers.EventsConsumer.open_ones


async def test_each_hears_of_his_own_and_staff_of_all(alice: User, charlie: User, dana: User) -> None:
    sockets = {person.username: await socket_of(person) for person in (alice, charlie, dana)}
    for socket in sockets.values():
        assert (await socket.connect(timeout=10))[0]
    publish = sync_to_async(events.publish)
    await publish(kind="job", id="7", user_ids=[alice.pk], machine="m")
    expected = {"type": "job", "id": "7", "machine": "m"}
    assert json.loads(await sockets["alice"].receive_from(timeout=10)) == expected
    assert json.loads(await sockets["dana"].receive_from(timeout=10)) == expected
    assert await sockets["charlie"].receive_nothing(timeout=0.5)
    for socket in sockets.values():
        await socket.disconnect()


async def test_who_signs_out_hears_no_more(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumers, "RIGHTS_SECONDS", 0.1)
    socket = await socket_of(alice)
    assert (await socket.connect(timeout=10))[0]
    session = dict(socket.scope["headers"])[b"cookie"].decode().partition("=")[2]

    def sign_out() -> None:
        client = Client()
        client.cookies["sessionid"] = session
        client.session.flush()

    await sync_to_async(sign_out)()
    async with asyncio.timeout(10):
        assert (await socket.receive_output(timeout=10)) == {"type": "websocket.close", "code": 4403}


async def test_a_changed_password_ends_what_another_browser_hears(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "RIGHTS_SECONDS", 0.1)
    socket = await socket_of(alice)
    assert (await socket.connect(timeout=10))[0]

    def change_password() -> None:
        alice.set_password("another phrase altogether")
        alice.save()

    await sync_to_async(change_password)()
    async with asyncio.timeout(10):
        assert (await socket.receive_output(timeout=10)) == {"type": "websocket.close", "code": 4403}


async def test_a_database_that_is_away_for_a_moment_ends_no_watch(
    alice: User, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    monkeypatch.setattr(consumers, "RIGHTS_SECONDS", 0.1)
    socket = await socket_of(alice)
    assert (await socket.connect(timeout=10))[0]
    away_sessions.asked = 0
    settings.SESSION_ENGINE = "tests.web.away_sessions"
    async with asyncio.timeout(10):
        assert (await socket.receive_output(timeout=10)) == {"type": "websocket.close", "code": 4403}
    assert away_sessions.asked == 2

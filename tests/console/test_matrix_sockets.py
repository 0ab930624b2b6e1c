"""Which person may open which socket: every address of `asgi.sockets`, with every role, over a real server.

Lives here: the handshake alone. What an open socket says is in test_console_socket and tests/web.
"""

from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.routing import URLRouter
from django.test import Client
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.console.conftest import Desk, Portal
from webxen import asgi
from webxen.accounts.models import User
from webxen.console.routing import websocket_urlpatterns as console_patterns
from webxen.web.routing import websocket_urlpatterns as web_patterns

ROLES = ("nobody", "alice", "bob", "charlie", "dana", "disabled")
#: how it is knocked at → who is let in, in the order of ROLES. web1 is alice's, bob is her colleague.
MATRIX: dict[str, tuple[bool, ...]] = {
    "events": (False, True, True, True, True, False),
    # charlie never gets a ticket at the door (test_console_ticket_api): if he had one, it would open nothing
    "console, with a ticket of one's own": (False, True, True, False, True, False),
    # a ticket without a session is a script's, with another person's session it is stolen; a disabled
    # person's session is none
    "console, with alice's ticket": (True, True, False, False, False, True),
    "console, with a made-up ticket": (False,) * 6,
    "console, without a ticket": (False,) * 6,
}


def test_every_address_is_in_the_matrix() -> None:
    assert isinstance(asgi.sockets, URLRouter)
    known = [str(route.pattern) for route in (*console_patterns, *web_patterns)]
    assert known == ["ws/console/<uuid:machine_id>/", "ws/events/"]
    assert [str(route.pattern) for route in asgi.sockets.routes] == [*known, ""]
    assert {knock.partition(",")[0] for knock in MATRIX} == {"console", "events"}


@pytest.fixture
def people(alice: User, bob: User, charlie: User, dana: User, lab: Any) -> dict[str, User | None]:
    disabled = User.objects.create_user(username="disabled", email="disabled@example.org", is_staff=True)
    everybody: dict[str, User | None] = {user.username: user for user in (alice, bob, charlie, dana)}
    return {"nobody": None, **everybody, "disabled": disabled}


def session_of(user: User | None) -> str:
    client = Client()
    if user is not None:
        client.force_login(user)
    return "; ".join(f"{name}={morsel.value}" for name, morsel in client.cookies.items())


async def is_let_in(portal: Portal, path: str, cookie: str, protocols: list[str]) -> bool:
    try:
        async with connect(
            portal.address(path),
            origin=portal.origin,  # type: ignore[arg-type]
            additional_headers={"Cookie": cookie} if cookie else {},
            subprotocols=protocols or None,  # type: ignore[arg-type]
        ):
            return True
    except InvalidStatus as refusal:
        if refusal.response.status_code != 403:
            raise
        return False


@pytest.mark.parametrize("knock", MATRIX)
async def test_lets_each_role_in_or_not(
    knock: str, portal: Portal, desk: Desk, people: dict[str, User | None]
) -> None:
    path = "/ws/events/" if knock == "events" else f"/ws/console/{desk.machine.id}/"
    got = {}
    for role, user in people.items():
        cookie = await sync_to_async(session_of)(user)
        tickets = {
            "console, with a ticket of one's own": await desk.ticket(user) if user else "",
            "console, with alice's ticket": await desk.ticket(),
            "console, with a made-up ticket": "made-up",
        }
        if role == "disabled":
            # the session and the ticket were good until just now
            await User.objects.filter(username=role).aupdate(is_active=False)
        ticket = tickets.get(knock)
        protocols = [] if knock == "events" else ["webxen.console.v1"]
        protocols += [f"webxen.ticket.{ticket}"] if ticket else []
        got[role] = await is_let_in(portal, path, cookie, protocols)
    assert got == dict(zip(ROLES, MATRIX[knock], strict=True))

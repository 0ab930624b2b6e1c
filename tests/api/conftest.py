"""API clients: one for each user, with a token, and one whose token may only read."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import time_machine
from django.test import Client

from tests.fixture_cache import shared
from tests.fixtures import NOW
from webxen.accounts import operations as accounts
from webxen.accounts.models import User
from webxen.core import clock

ROOT = "/api/v1/"


class Caller:
    """A client with one token. `ask` sends a request and returns the answer."""

    def __init__(self, secret: str = "") -> None:
        self.client = Client()
        self.headers = {"Authorization": f"Bearer {secret}"} if secret else {}

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """`body`: bytes are sent unchanged, anything else as JSON; a header X-Y is named X_Y."""
        address = path if path.startswith(("/", "http")) else ROOT + path
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        raw = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        kind = sent.pop("Content-Type", "application/json")
        return self.client.generic(method, address, raw, content_type=kind, headers={**self.headers, **sent})

    def get(self, path: str, **headers: str) -> Any:
        return self.ask("GET", path, **headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        return self.ask("POST", path, body, **headers)


@pytest.fixture(autouse=True)
def at_noon() -> Iterator[None]:
    """Make the API's clock return the fixtures' time."""
    with time_machine.travel(NOW):
        yield


def issue(user: User, *scopes: str) -> str:
    """Return the secret of a new token."""
    _, secret = accounts.create_token(user=user, name="test", scopes=scopes, expires_at=None, now=clock.now())
    return secret


@pytest.fixture
def calls_as(db: None) -> Callable[..., Caller]:
    return lambda user, *scopes: Caller(issue(user, *scopes))


@shared
def role_secrets(alice: User, bob: User, charlie: User, dana: User, elsewhere: Any) -> dict[str, str]:
    """A token for each role; "nobody" has none."""
    people = {user.username: issue(user) for user in (alice, bob, charlie, dana)}
    return {"nobody": "", "reader": issue(alice, "read"), **people}


@pytest.fixture
def nobody(db: None) -> Caller:
    return Caller()


@pytest.fixture
def as_alice(calls_as: Callable[..., Caller], alice: User) -> Caller:
    return calls_as(alice)


@pytest.fixture
def as_bob(calls_as: Callable[..., Caller], bob: User) -> Caller:
    return calls_as(bob)


@pytest.fixture
def as_charlie(calls_as: Callable[..., Caller], charlie: User) -> Caller:
    return calls_as(charlie)


@pytest.fixture
def as_dana(calls_as: Callable[..., Caller], dana: User) -> Caller:
    return calls_as(dana)


@pytest.fixture
def as_reader(calls_as: Callable[..., Caller], alice: User) -> Caller:
    """alice's token that may only read."""
    return calls_as(alice, "read")

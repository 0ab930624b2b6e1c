"""Who is believed when a request says for whom it was passed on: the proxies of the settings, nobody else."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from django.core.cache import cache
from django.core.handlers.asgi import ASGIHandler
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from tests.conventions.tree import ROOT
from webxen import asgi, env
from webxen.accounts import operations as accounts
from webxen.accounts.models import User

PROXY, ANYBODY = "10.0.0.5", "192.0.2.7"
#: allauth's own: so many a minute from one address
TRIES = 10
SPOOFED = {"x-forwarded-proto": "https", "x-forwarded-host": "evil.test", "x-forwarded-for": "203.0.113.1"}


@dataclass
class Answer:
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


@pytest.fixture
def portal(settings: Any, monkeypatch: pytest.MonkeyPatch) -> ProxyHeadersMiddleware:
    """The portal behind the middleware of webxen.asgi, with a proxy of its own."""
    monkeypatch.setenv("WEBXEN_TRUSTED_PROXIES", f"{PROXY}, fd00::/8")
    settings.ALLOWED_HOSTS = ["webxen.test"]
    cache.clear()
    return ProxyHeadersMiddleware(ASGIHandler(), trusted_hosts=env.networks("WEBXEN_TRUSTED_PROXIES"))


async def ask(
    app: Any, peer: str, method: str, path: str, headers: Mapping[str, str], body: bytes = b""
) -> Answer:
    scope = {
        "type": "http",
        "http_version": "1.1",
        "scheme": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": [
            (b"host", b"webxen.test"),
            (b"content-length", str(len(body)).encode()),
            *((k.encode(), v.encode()) for k, v in headers.items()),
        ],
        "client": (peer, 40000),
        "server": ("127.0.0.1", 8000),
    }
    line = ApplicationCommunicator(app, scope)
    await line.send_input({"type": "http.request", "body": body, "more_body": False})
    begun = await line.receive_output(30)
    said, more = b"", True
    while more:
        part = await line.receive_output(30)
        said, more = said + part["body"], part.get("more_body", False)
    await line.wait()
    return Answer(begun["status"], begun["headers"], said)


@pytest.fixture
def invite(transactional_db: None, portal: Any, now: Any) -> Callable[..., Any]:
    """Let staff ask for the command by which a host joins: the one link that is typed in as root."""
    dana = User.objects.create_user(username="dana", is_staff=True)
    _, token = accounts.create_token(user=dana, name="t", scopes=(), expires_at=None, now=now)

    async def command(peer: str, headers: Mapping[str, str]) -> str:
        mine = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        answer = await ask(
            portal, peer, "POST", "/api/v1/hosts/", {**mine, **headers}, b'{"name": "xen9", "rejoin": false}'
        )
        return str(json.loads(answer.body)["command"])

    return command


async def sign_in(portal: Any, peer: str, number: int, passed_on_for: str) -> int:
    """A wrong password for another account each time; the status of the answer."""
    headers = {"x-forwarded-for": passed_on_for}
    page = await ask(portal, peer, "GET", "/accounts/login/", headers)
    cookies = b"; ".join(v.split(b";")[0] for k, v in page.headers if k.lower() == b"set-cookie").decode()
    found = re.search(rb'name="csrfmiddlewaretoken" value="(\w+)"', page.body)
    assert found
    form = f"csrfmiddlewaretoken={found[1].decode()}&login=nobody{number}&password=wrong".encode()
    more = {"cookie": cookies, "content-type": "application/x-www-form-urlencoded"}
    answer = await ask(portal, peer, "POST", "/accounts/login/", {**headers, **more}, form)
    return answer.status if b"Too many failed" not in answer.body else 429


class TestLinks:
    async def test_of_anybody_who_says_that_they_are_a_proxy_stay_as_they_are(self, invite: Any) -> None:
        assert "join http://webxen.test" in await invite(ANYBODY, SPOOFED)

    async def test_through_the_proxy_are_those_that_people_see(self, invite: Any) -> None:
        assert "join https://webxen.test" in await invite(PROXY, {"x-forwarded-proto": "https"})

    async def test_never_go_to_a_forwarded_host(self, invite: Any) -> None:
        assert "join https://webxen.test" in await invite(PROXY, SPOOFED)


@pytest.mark.usefixtures("transactional_db")
class TestTryingPasswords:
    async def test_is_limited_whatever_the_header_says(self, portal: Any) -> None:
        told = [await sign_in(portal, ANYBODY, n, f"203.0.113.{n}") for n in range(TRIES + 1)]
        assert told == [200] * TRIES + [429]

    async def test_is_limited_through_the_proxy_by_the_last_address_alone(self, portal: Any) -> None:
        """What stands before it came from the browser."""
        told = [await sign_in(portal, PROXY, n, f"203.0.113.{n}, 198.51.100.1") for n in range(TRIES + 1)]
        assert told == [200] * TRIES + [429]

    async def test_does_not_shut_others_out_who_come_through_the_same_proxy(self, portal: Any) -> None:
        told = [await sign_in(portal, PROXY, n, f"203.0.113.{n}") for n in range(TRIES + 1)]
        assert told == [200] * (TRIES + 1)


class TestSetting:
    def test_names_nobody_unless_somebody_is_named(self, settings: Any) -> None:
        assert settings.WEBXEN_TRUSTED_PROXIES == []
        assert isinstance(asgi.application, ProxyHeadersMiddleware)
        assert all(one not in asgi.application.trusted_hosts for one in ("127.0.0.1", "::1", PROXY))

    @pytest.mark.parametrize("word", ["*", "proxy.example.org", "10.0.0.1/8", "127.0.0.1;10.0.0.1"])
    def test_that_is_no_address_stops_the_start(self, monkeypatch: Any, word: str) -> None:
        monkeypatch.setenv("WEBXEN_TRUSTED_PROXIES", word)
        with pytest.raises(env.SettingError, match="use addresses and networks"):
            env.networks("WEBXEN_TRUSTED_PROXIES")

    @pytest.mark.parametrize(
        "file",
        ["docker-compose.yml", "devtools/lab/portal.py", "docs/operating.md", "tests/bench/quota_race.py"],
    )
    def test_is_the_only_one(self, file: str) -> None:
        """uvicorn believes its own machine unless it is told not to."""
        lines = [line for line in (ROOT / file).read_text().splitlines() if "uvicorn" in line]
        assert "webxen.asgi:application" in " ".join(lines)
        assert "--no-proxy-headers" in (ROOT / file).read_text()

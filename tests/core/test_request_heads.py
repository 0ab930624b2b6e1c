"""Cookies that would take long to read are refused before anybody reads them."""

import asyncio
import json

import pytest

from webxen import asgi

QUOTED = b'a="' + b"\\a" * 8000 + b'"'


async def knock(headers, *, kind="http"):
    """One request or socket; what it is told."""
    said = []
    coming = iter(
        [{"type": "websocket.connect"}]
        if kind == "websocket"
        else [{"type": "http.request", "body": b"", "more_body": False}]
    )

    async def receive():
        item = next(coming, None)
        if item is None:
            await asyncio.sleep(60)
        return item

    async def send(message):
        said.append(message)

    path = "/ws/events/" if kind == "websocket" else "/api/v1/nowhere/"
    scope = {
        "type": kind,
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "query_string": b"",
        "headers": [(b"host", b"localhost"), *headers],
        "client": ("192.0.2.1", 1),
        "server": ("localhost", 80),
        "subprotocols": [],
    }
    await asyncio.wait_for(asgi.application(scope, receive, send), 60)
    return said


@pytest.mark.parametrize(
    "headers",
    [
        [(b"cookie", QUOTED)],
        [(b"cookie", b'a="' + b"\\" * 600 + b'"')] * 2,
        [(b"cookie", b"a=" + b"x" * 17_000)],
    ],
    ids=["backslashes", "backslashes in two", "long"],
)
class TestLargeCookies:
    def test_are_refused(self, headers):
        start, *body = asyncio.run(knock(headers))
        said = json.loads(b"".join(part["body"] for part in body))
        assert (start["status"], said["code"]) == (431, "COOKIES_TOO_LARGE")

    def test_open_no_socket(self, headers):
        said = asyncio.run(knock(headers, kind="websocket"))
        assert [message["type"] for message in said] == ["websocket.close"]


@pytest.mark.django_db(transaction=True)
def test_usual_cookies_are_read():
    quoted = b'messages="' + b'\\"\\054' * 100 + b'"; sessionid=' + b"x" * 32
    start, *_body = asyncio.run(knock([(b"cookie", quoted)]))
    assert start["status"] == 404

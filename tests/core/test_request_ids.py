"""Every answer carries the id of its request, and whoever looks for that id finds what was done."""

import json
import logging
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from django.core.handlers.asgi import ASGIHandler
from django.test import Client

from tests.fixtures import PASSWORD
from webxen import asgi
from webxen.accounts import operations as accounts
from webxen.accounts.models import User
from webxen.core import request_context
from webxen.core.models import AuditEntry
from webxen.core.request_ids import with_request_id

OURS = "deploy-17.a_b"


def scope(
    path: str = "/", kind: str = "http", headers: tuple[tuple[bytes, bytes], ...] = ()
) -> dict[str, Any]:
    return {
        "type": kind,
        "http_version": "1.1",
        "scheme": "http",
        "method": "GET",
        "path": path,
        "query_string": b"",
        "headers": [(b"host", b"localhost"), *headers],
        "client": ("192.0.2.7", 40000),
        "server": ("127.0.0.1", 8000),
        "subprotocols": [],
        "extensions": {"websocket.http.response": {}},
    }


async def begin_of(app: Any, asked: dict[str, Any]) -> dict[str, Any]:
    """The message that begins the answer."""
    line = ApplicationCommunicator(app, asked)
    begin = (
        {"type": "http.request", "body": b""} if asked["type"] == "http" else {"type": "websocket.connect"}
    )
    await line.send_input(begin)
    message = await line.receive_output(10)
    await line.wait(10)
    return dict(message)


def ids_in(message: dict[str, Any]) -> list[str]:
    return [value.decode() for name, value in message["headers"] if name.lower() == b"x-request-id"]


class TestRequestId:
    @pytest.mark.parametrize(
        "path", ["/static/webxen/nothing.css", "/api/v1/nowhere/", "/nowhere/", "/accounts/login/"]
    )
    def test_is_on_every_answer(self, db: None, path: str) -> None:
        answer = Client().get(path)
        assert len(answer["X-Request-Id"]) == 32

    def test_of_the_client_is_kept(self, db: None) -> None:
        assert Client().get("/api/v1/me/", headers={"x-request-id": OURS})["X-Request-Id"] == OURS

    @pytest.mark.parametrize("untrusted", ["", " ", "a b", "x" * 65, 'a"b', "é", "a\tb", "../x", "a,b"])
    def test_that_could_forge_a_line_is_replaced(self, db: None, untrusted: str) -> None:
        given = Client().get("/api/v1/me/", headers={"x-request-id": untrusted})["X-Request-Id"]
        assert given != untrusted
        assert request_context.ACCEPTED.fullmatch(given)

    def test_is_the_reference_of_every_problem(self, db: None) -> None:
        answer = Client().get("/api/v1/me/", headers={"x-request-id": OURS})
        assert answer.status_code == 401
        assert answer.json()["reference"] == OURS

    def test_differs_from_request_to_request(self, db: None) -> None:
        browser = Client()
        assert browser.get("/api/v1/me/")["X-Request-Id"] != browser.get("/api/v1/me/")["X-Request-Id"]

    def test_is_in_the_audit_with_address_and_token(self, alice: User, now: Any) -> None:
        token, secret = accounts.create_token(user=alice, name="ci", expires_at=None, now=now)
        answer = Client(REMOTE_ADDR="192.0.2.9").post(
            "/api/v1/tokens/",
            {"name": "child"},
            content_type="application/json",
            headers={"authorization": f"Bearer {secret}", "x-request-id": OURS},
        )
        assert answer.status_code == 201
        row = AuditEntry.objects.filter(action="CREATE_TOKEN").latest("id")
        assert (row.request_id, row.address, row.token_id) == (OURS, "192.0.2.9", token.id)

    def test_of_one_request_is_not_in_what_the_portal_does_by_itself(self, alice: User, now: Any) -> None:
        Client().get("/api/v1/me/")
        accounts.create_token(user=alice, name="ci", expires_at=None, now=now)
        row = AuditEntry.objects.get(action="CREATE_TOKEN")
        assert (row.request_id, row.address, row.token_id) == ("", "", None)

    def test_of_a_write_that_was_done_is_in_the_log(
        self, alice: User, caplog: pytest.LogCaptureFixture
    ) -> None:
        browser = Client()
        with caplog.at_level(logging.INFO, logger="webxen.core.middleware"):
            browser.post("/accounts/login/", {"login": "alice", "password": PASSWORD})
            browser.get("/accounts/login/")
        assert [
            record.getMessage() for record in caplog.records if record.name == "webxen.core.middleware"
        ] == ["POST /accounts/login/ 302"]


class TestEdge:
    async def test_puts_the_id_on_what_django_never_saw(self) -> None:
        async def refuse(_scope: Any, _receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 413, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        begun = await begin_of(with_request_id(refuse), scope(headers=((b"x-request-id", OURS.encode()),)))
        assert ids_in(begun) == [OURS]

    async def test_does_not_say_it_twice(self) -> None:
        begun = await begin_of(with_request_id(ASGIHandler()), scope("/api/v1/nowhere/"))
        assert len(ids_in(begun)) == 1

    @pytest.mark.django_db(transaction=True)
    async def test_takes_neither_of_two(self) -> None:
        both = ((b"x-request-id", b"one"), (b"x-request-id", b"two"))
        begun = await begin_of(asgi.application, scope("/api/v1/nowhere/", headers=both))
        assert not {"one", "two"} & set(ids_in(begun))

    async def test_answers_itself_when_all_below_it_breaks(self) -> None:
        async def broken(_scope: Any, _receive: Any, _send: Any) -> None:
            raise LookupError

        sent: list[dict[str, Any]] = []

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        with pytest.raises(LookupError):
            await with_request_id(broken)(scope(), None, send)
        assert [message.get("status") for message in sent] == [500, None]
        assert len(ids_in(sent[0])[0]) == 32

    async def test_refuses_a_socket_with_the_id(self) -> None:
        refused = await begin_of(asgi.application, scope("/ws/nowhere/", kind="websocket"))
        assert (refused["type"], refused["status"]) == ("websocket.http.response.start", 403)
        assert len(ids_in(refused)[0]) == 32

    async def test_tells_the_audit_who_the_trusted_proxy_asks_for(self) -> None:
        seen = []

        async def look(_scope: Any, _receive: Any, send: Any) -> None:
            seen.append(request_context.current().address)
            await send({"type": "http.response.start", "status": 200, "headers": []})

        await begin_of(with_request_id(look), scope())
        assert seen == ["192.0.2.7"]


def test_a_reference_of_a_bug_stands_in_its_log_line(caplog: pytest.LogCaptureFixture) -> None:
    from webxen.api import problems

    with request_context.within(request_id=OURS, address=""):
        answer = problems.handle(LookupError("not foreseen"), {})
    assert answer.data["reference"] == OURS
    assert OURS in caplog.text
    assert json.dumps(answer.data)

"""A database that does not answer is a 503 that says so; a mistake of ours stays a 500 with a reference."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError
from django.db.utils import ConnectionHandler
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from webxen.core import database
from webxen.settings import _database

SERVERLESS = _database("postgresql://webxen@/webxen?host=/nowhere/at/all")


def ask(settings: dict[str, Any], *statements: str) -> None:
    """Say something to a database of the test's own."""
    connection = ConnectionHandler({"default": {"TIME_ZONE": None, **settings}})["default"]
    try:
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
    finally:
        connection.close()


def page(request: HttpRequest) -> HttpResponse:
    ask(SERVERLESS, "SELECT 1")
    return HttpResponse()


class Api(APIView):
    authentication_classes = ()
    permission_classes = ()

    def post(self, request: Request) -> Response:
        ask(SERVERLESS, "SELECT 1")
        return Response()


urlpatterns = [path("page/", page), path("api/v1/it/", Api.as_view())]
handler500 = "webxen.web.error_pages.server_error"


@pytest.fixture(autouse=True)
def with_databases_of_its_own(django_db_blocker: Any) -> Iterator[None]:
    with django_db_blocker.unblock():
        yield


@pytest.fixture
def file(tmp_path: Path) -> dict[str, Any]:
    options = {"timeout": 0, "transaction_mode": "IMMEDIATE"}
    settings = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "db"), "OPTIONS": options}
    ask(settings, "CREATE TABLE a (b)")
    return settings


@pytest.fixture
def locked(file: dict[str, Any]) -> Iterator[dict[str, Any]]:
    other = ConnectionHandler({"default": {"TIME_ZONE": None, **file}})["default"]
    with other.cursor() as cursor:
        cursor.execute("BEGIN EXCLUSIVE")
        yield file
    other.close()


class TestIsAway:
    def test_when_there_is_no_server(self) -> None:
        self.check(lambda: ask(SERVERLESS, "SELECT 1"), is_away=True)

    def test_when_another_holds_the_lock(self, locked: dict[str, Any]) -> None:
        self.check(lambda: ask(locked, "INSERT INTO a VALUES (1)"), is_away=True)

    @pytest.mark.parametrize("statement", ["SELECT * FROM nothing", "SELEKT", "SELECT b, FROM a"])
    def test_not_when_we_ask_nonsense(self, file: dict[str, Any], statement: str) -> None:
        self.check(lambda: ask(file, statement), is_away=False)

    def test_not_when_it_is_no_word_of_the_databases(self) -> None:
        assert not database.is_away(None)
        assert not database.is_away(OSError("the disk is full"))

    @staticmethod
    def check(act: Callable[[], None], *, is_away: bool) -> None:
        with pytest.raises(DatabaseError) as found:
            act()
        assert database.is_away(found.value) is is_away


@pytest.mark.urls("tests.core.test_database")
class TestAnswer:
    def test_of_a_page_needs_no_database_to_be_shown(self) -> None:
        answer = Client(raise_request_exception=False).get("/page/")
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        text = answer.content.decode()
        assert "The database does not answer" in text
        assert "reference" not in text

    def test_of_the_api_is_a_problem(self) -> None:
        answer = Client().post("/api/v1/it/", {}, content_type="application/json")
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["code"] == "DATABASE_AWAY"

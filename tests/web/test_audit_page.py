"""The page of the audit: one's own lines or, for staff, all; looked for by who, what, when and from where."""

import ast
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.utils import translation

import webxen
from tests.fixtures import NOW
from webxen.core.models import AuditEntry
from webxen.web.audit import PER_PAGE
from webxen.web.templatetags.screens import action_word

TOKEN = UUID("0f0e0d0c-0000-4000-8000-000000000001")


def line(actor: Any, action: str = "OPEN_CONSOLE", **fields: Any) -> AuditEntry:
    fields = {"at": NOW, "target_kind": "machine", "target_id": "m1", "target_name": "web1"} | fields
    return AuditEntry.objects.create(actor=actor, action=action, **fields)


def rows(answer: Any) -> list[str]:
    """The lines of the table, as text."""
    body = answer.content.decode().split("<tbody>")[1].split("</tbody>")[0]
    return [re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", row)) for row in body.split("<tr>")[1:]]


class TestAuditPage:
    @pytest.fixture
    def lines(self, alice: Any, dana: Any) -> None:
        line(alice, address="10.1.2.3", request_id="ab" * 16, target_name="first")
        line(alice, "SIGN_IN_FAILED", address="192.0.2.7", at=NOW + timedelta(days=2), target_name="second")
        line(dana, token_id=TOKEN, target_id="m9", at=NOW + timedelta(days=3), target_name="third")
        line(None, "MOVE_SOMETHING", target_name="fourth", at=NOW + timedelta(days=4))

    @pytest.mark.parametrize(
        ("asked", "found"),
        [
            ("", ["fourth", "third", "second", "first"]),
            ("?who=alice", ["second", "first"]),
            ("?who=nobody", []),
            ("?what=SIGN_IN_FAILED", ["second"]),
            ("?what=MOVE_SOMETHING", ["fourth"]),
            ("?mark=10.1.2.3", ["first"]),
            ("?mark=" + "ab" * 16, ["first"]),
            (f"?mark={TOKEN}", ["third"]),
            ("?mark=m9", ["third"]),
            ("?from=2026-11-26", ["fourth", "third", "second"]),
            ("?from=2026-11-26&to=2026-11-27", ["third", "second"]),
            ("?to=2026-11-24", ["first"]),
            ("?who=alice&to=2026-11-25&mark=10.1.2.3&what=OPEN_CONSOLE", ["first"]),
        ],
    )
    def test_staff_finds_lines(self, lines: None, as_: Any, dana: Any, asked: str, found: list[str]) -> None:
        shown = [row for row in rows(as_(dana).get(f"/audit/{asked}")) if "No entries" not in row]
        assert [
            next(name for name in ("first", "second", "third", "fourth") if name in row) for row in shown
        ] == found

    def test_what_was_asked_for_stays_in_the_form(self, lines: None, as_: Any, dana: Any) -> None:
        asked = "?who=alice&what=MOVE_SOMETHING&from=2026-11-01&to=2026-11-30&mark=10.1.2.3"
        page = as_(dana).get(f"/audit/{asked}").content.decode()
        for value in ("alice", "2026-11-01", "2026-11-30", "10.1.2.3"):
            assert f'value="{value}"' in page
        assert '<option value="MOVE_SOMETHING" selected>' in page
        assert "No entries match" in page

    @pytest.mark.parametrize("date", ["30.11.2026", "2026-02-30", "9999-12-31", "0001-01-01"])
    def test_a_date_that_is_none_is_said_and_breaks_nothing(
        self, lines: None, as_: Any, dana: Any, date: str
    ) -> None:
        answer = as_(dana).get("/audit/", {"to": date, "from": date})
        assert answer.status_code == 200
        if date in ("30.11.2026", "2026-02-30"):
            assert f"“{date}” is no date" in answer.content.decode()

    def test_columns_name_the_address_the_token_and_the_request(
        self, lines: None, as_: Any, dana: Any
    ) -> None:
        page = as_(dana).get("/audit/").content.decode()
        assert '<a href="/audit/?mark=10.1.2.3">' in page
        assert f'href="/audit/?mark={TOKEN}"' in page
        assert f'href="/audit/?mark={"ab" * 16}"' in page

    def test_others_see_their_own_lines_and_no_one_elses(
        self, lines: None, as_: Any, alice: Any, charlie: Any, elsewhere: Any
    ) -> None:
        own = rows(as_(alice).get("/audit/"))
        assert [("second" in row, "first" in row) for row in own] == [(True, False), (False, True)]
        assert len(rows(as_(alice).get("/audit/?who=dana"))) == 2
        for asked in ("", "?mark=10.1.2.3", "?who=alice", f"?mark={TOKEN}"):
            assert "first" not in as_(charlie).get(f"/audit/{asked}").content.decode()
        assert 'href="/audit/"' in as_(alice).get("/").content.decode()

    def test_older_lines_are_a_page_away_with_the_same_filter(self, as_: Any, alice: Any, dana: Any) -> None:
        for number in range(PER_PAGE + 1):
            line(alice, target_name=f"number-{number}.")
        line(dana, target_name="not-hers.")
        page = as_(dana).get("/audit/?who=alice")
        assert len(rows(page)) == PER_PAGE
        assert "number-0." not in page.content.decode()
        older = re.search(r'rel="next" href="([^"]+)"', page.content.decode())
        assert older
        last = as_(dana).get("/audit/" + older[1].replace("&amp;", "&"))
        assert len(rows(last)) == 1
        assert "number-0." in last.content.decode()
        assert 'rel="next"' not in last.content.decode()
        assert 'href="?who=alice"' in last.content.decode()


class TestWords:
    def test_every_action_the_portal_writes_has_a_word_in_both_languages(self) -> None:
        written = set(_actions_written())
        assert {"RESTORE_FOUND", "END_SESSIONS", "SIGN_IN_FAILED", "REVOKE_TOKEN"} <= written
        for language in ("en", "ru"):
            with translation.override(language):
                bare = [action for action in sorted(written) if action_word(action) == action]
                assert not bare, f"{language}: webxen/web/codes.py has no word for {bare}"


def _actions_written() -> Iterator[str]:
    """Constants that end up as `action` of audit.record, straight or through a function of the module."""
    for path in Path(webxen.__file__).parent.rglob("*.py"):
        text = path.read_text()
        if "audit.record" not in text:
            continue
        tree = ast.parse(text)
        places = {
            function.name: names.index("action")
            for function in ast.walk(tree)
            if isinstance(function, ast.FunctionDef)
            and "action" in (names := [argument.arg for argument in function.args.args])
        }
        for call in ast.walk(tree):
            if not isinstance(call, ast.Call):
                continue
            given = [keyword.value for keyword in call.keywords if keyword.arg == "action"]
            name = call.func.id if isinstance(call.func, ast.Name) else ""
            if name in places and places[name] < len(call.args):
                given.append(call.args[places[name]])
            yield from (one.value for one in given if isinstance(one, ast.Constant) and one.value.isupper())

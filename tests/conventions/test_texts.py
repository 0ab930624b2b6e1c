"""The documents say what the code does, and no text speaks of unfinished work or of somebody's machine."""

import importlib
import re
from typing import ClassVar

import pytest

from tests.conventions import texts
from tests.conventions.tree import ROOT, Source, read_names, read_python

PRODUCT = [source for source in read_python() if source.is_in("webxen/", "worker/", "devtools/")]


def readable() -> list[str]:
    return [
        name for name in read_names() if texts.TEXT.search(name) and not texts.WRITTEN_BY_TOOLS.search(name)
    ]


class TestEveryText:
    def test_has_no_mark_of_unfinished_work(self) -> None:
        assert not self.find(texts.UNFINISHED)

    def test_names_no_folder_or_mirror_of_one_machine(self) -> None:
        assert not self.find(texts.ELSEWHERE)

    @staticmethod
    def find(pattern: re.Pattern[str]) -> list[str]:
        return [
            f"{name}:{line}"
            for name in readable()
            for line in texts.find_lines(pattern, (ROOT / name).read_text(errors="replace"))
        ]

    @pytest.mark.parametrize(
        ("pattern", "text"),
        [
            (texts.UNFINISHED, "x = 1  # TO" + "DO later"),
            (texts.UNFINISHED, "FIX" + "ME"),
            (texts.ELSEWHERE, "open('/wo" + "rk/main/x')"),
            (texts.ELSEWHERE, "deb http://deb.deb" + "ian.org/debian bookworm main"),
            (texts.ELSEWHERE, "see ../sha" + "red/lab"),
        ],
    )
    def test_would_be_found(self, pattern: re.Pattern[str], text: str) -> None:
        assert texts.find_lines(pattern, f"first\n{text}\n") == [2]

    def test_is_looked_at_in_every_corner(self) -> None:
        names = readable()
        for wanted in ("Makefile", ".ci/run", ".ci/install", "pyproject.toml", "webxen/settings.py"):
            assert wanted in names


class TestSettingsPage:
    def test_lists_exactly_the_settings_there_are(self) -> None:
        documented = {
            name
            for name in texts.documented_first_cells((ROOT / "docs/settings.md").read_text())
            if name.startswith("WEBXEN_")
        }
        assert documented == texts.read_settings(PRODUCT)

    def test_reader_sees_a_setting(self) -> None:
        source = Source("worker/settings.py", 'x = text("WEBXEN_NEW")\n"WEBXEN_NOT alone"')
        assert texts.read_settings([source]) == {"WEBXEN_NEW"}
        assert texts.documented_first_cells("| `WEBXEN_NEW` | `x` |\n`WEBXEN_OLD`") == {"WEBXEN_NEW"}


class TestErrorPage:
    def test_lists_exactly_the_codes_there_are(self) -> None:
        documented = texts.documented_first_cells((ROOT / "docs/errors.md").read_text())
        assert documented == texts.read_error_codes(PRODUCT)

    def test_lists_each_code_once(self) -> None:
        rows = re.findall(r"^\| `([A-Z_]+)` \|", (ROOT / "docs/errors.md").read_text(), re.MULTILINE)
        assert sorted(rows) == sorted(set(rows))

    def test_reader_sees_a_code(self) -> None:
        source = Source("a.py", 'class A(E):\n    code = "A_B"\nclass C(E):\n    code: ClassVar[str] = "C_D"')
        assert texts.read_error_codes([source]) == {"A_B", "C_D"}


class TestStatesPage:
    #: heading on the page -> module with the table
    TABLES: ClassVar[dict[str, str]] = {
        "The machine's state": "webxen.machines.lifecycle",
        "A job's status": "webxen.jobs.status",
        "A migration's phase": "webxen.migration.phases",
        "A request's status": "webxen.approvals.status",
    }

    @pytest.mark.parametrize(("heading", "module"), TABLES.items())
    def test_shows_exactly_the_transitions_there_are(self, heading: str, module: str) -> None:
        table = importlib.import_module(module).TRANSITIONS
        rows = {
            (str(source), str(event), str(transition.target))
            for event, transition in table.items()
            for source in transition.sources
        }
        page = (ROOT / "docs/states.md").read_text()
        assert texts.read_transitions(page, heading) == rows
        drawn = texts.read_drawing(page, heading)
        assert drawn == {word for row in rows for word in row if not word.startswith("FOUND_")}

    def test_reader_sees_a_row_under_its_heading_alone(self) -> None:
        row = "| From | Event | To |\n|---|---|---|\n| `BUILDING` | BUILT | `READY` | its disk is there |\n"
        page = f"# States\n\n## Machine\n\n{row}\n```\nBUILDING ─BUILT─▶ READY\n```\n\n## Job\n"
        assert texts.read_transitions(page, "Machine") == {("BUILDING", "BUILT", "READY")}
        assert texts.read_transitions(page, "Job") == set()
        assert texts.read_drawing(page, "Machine") == {"BUILDING", "BUILT", "READY"}


class TestDecisions:
    def test_are_all_in_the_index(self) -> None:
        index = (ROOT / "docs/decisions/README.md").read_text()
        names = {path.name for path in (ROOT / "docs/decisions").glob("[0-9]*.md")}
        assert set(re.findall(r"\]\((\d{4}-[\w-]+\.md)\)", index)) == names

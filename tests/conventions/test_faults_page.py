"""docs/faults.md names tests that there are, and every row of `make chaos`."""

import re

from tests.chaos import base_data, broker, secrets, slow_line  # noqa: F401  their faults join the table
from tests.chaos.faults import ROWS
from tests.conventions.tree import ROOT

PAGE = (ROOT / "docs/faults.md").read_text()


class TestFaultsPage:
    def test_names_tests_that_are_there(self) -> None:
        named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE)
        assert len(named) > 100
        missing = [
            f"{path}::{name}"
            for path, name in named
            if not (ROOT / path).exists() or (name and f"def {name}(" not in (ROOT / path).read_text())
        ]
        assert missing == []

    def test_names_every_row_of_chaos_and_no_other(self) -> None:
        named = set(re.findall(r"chaos `(\w+)`", PAGE)) - {"positions"}
        assert named == {row.__name__ for row in ROWS}

"""Where a machine is after a move: every row of the table, and what must hold for every pair of looks."""

import itertools
from pathlib import Path

import pytest

from webxen.migration.verdict import TABLE, Copy, Go, Look, Said, Verdict, decide, read_source, read_target
from worker.contract import DomainSeen

DOCS = Path(__file__).resolve().parents[2] / "docs" / "migration.md"
LOOKS = [Look(go, copy) for go in Go for copy in Copy]
ME = "00000000-0000-4000-8000-000000000001"
#: one look of each host for each row of the table, in its order
EXAMPLES = (
    ("OPEN RUNS", "PASSED RUNS"),
    ("NEVER STILL", "PASSED STILL"),
    ("NEVER STILL", "OPEN RUNS"),
    ("PASSED STILL", "NEVER RUNS"),
    ("PASSED UNSEEN", "PASSED RUNS"),
    ("PASSED UNSEEN", "PASSED STILL"),
    ("NEVER RUNS", "OPEN UNSEEN"),
    ("NEVER STILL", "NEVER STILL"),
    ("NEVER NONE", "NEVER NONE"),
    ("PASSED RUNS", "NEVER STILL"),
    ("PASSED STILL", "NEVER UNSEEN"),
    ("PASSED NONE", "NEVER STILL"),
    ("PASSED STILL", "OPEN UNSEEN"),
    ("PASSED STILL", "OPEN STILL"),
    ("PASSED STILL", "PASSED RUNS"),
    ("OPEN STILL", "PASSED STILL"),
    ("PASSED RUNS", "PASSED NONE"),
    ("PASSED STILL", "PASSED STILL"),
    ("PASSED NONE", "PASSED NONE"),
    ("PASSED STILL", "PASSED NONE"),
)


def look(words: str) -> Look:
    go, copy = words.split()
    return Look(Go(go), Copy(copy))


def written(row) -> str:
    """A row of the table as docs/migration.md shows it."""
    cells = [row.source_go, row.source, row.target_go, row.target]
    shown = [" ".join(f"`{word}`" for word in sorted(cell)) or "any" for cell in cells]
    return f"| {' | '.join([*shown, f'**{row.verdict}**', row.why])} |"


class TestTable:
    @pytest.mark.parametrize(("place", "row"), list(enumerate(TABLE)))
    def test_row_decides_its_example(self, place, row):
        source, target = (look(words) for words in EXAMPLES[place])
        assert decide(source, target) == (row.verdict, row.why)
        earlier = [other for other in TABLE[:place] if other.fits(source, target)]
        assert not earlier

    def test_has_an_example_for_each_row(self):
        assert len(EXAMPLES) == len(TABLE)

    def test_is_what_the_docs_show(self):
        shown = [line for line in DOCS.read_text().splitlines() if "**" in line and line.startswith("|")]
        assert shown == [written(row) for row in TABLE]

    @pytest.mark.parametrize(("source", "target"), list(itertools.product(LOOKS, LOOKS)))
    def test_never_lets_it_run_twice_nor_guesses(self, source, target):
        verdict, why = decide(source, target)
        assert why != "No rule covers what was observed."
        if verdict == Verdict.MOVED:
            # the source does not run, and never again: the target had the word
            assert source.copy != Copy.RUNS
            assert target.go == Go.PASSED
            assert target.copy != Copy.UNSEEN
            assert source.go != Go.NEVER
        if verdict == Verdict.STAYED:
            # the target does not run, and never will
            assert target.copy != Copy.RUNS
            assert Go.NEVER in (source.go, target.go) or source.copy == Copy.RUNS
            assert source.copy != Copy.UNSEEN
        if target.copy == Copy.UNSEEN and Go.NEVER not in (source.go, target.go):
            assert verdict == Verdict.UNKNOWN
        if source.copy == target.copy == Copy.RUNS:
            assert verdict == Verdict.UNKNOWN


def seen(power: str, seconds: float = 0.0, *, uuid: str = ME) -> DomainSeen:
    return DomainSeen("web1", uuid, 3, power, 256, 1, seconds)  # type: ignore[arg-type]


def said(*domains: DomainSeen, **changed: object) -> Said:
    return Said(**{"is_ordered": True, "has_ended": True, "domains": domains} | changed)  # type: ignore[arg-type]


class TestReading:
    @pytest.mark.parametrize(
        ("word", "go"),
        [
            ({"is_ordered": False, "has_ended": False}, "NEVER"),
            ({"is_refused": True}, "NEVER"),
            ({"is_closed": True}, "NEVER"),
            ({"is_go_passed": True, "is_closed": True}, "PASSED"),
            # its relay is over, but not what it started: that may still start or resume the machine
            ({"is_go_passed": True, "is_closed": True, "has_ended": False}, "OPEN"),
            # ended, and not reported by what its relay did: that is no proof of anything
            ({}, "OPEN"),
            ({"has_ended": False}, "OPEN"),
        ],
    )
    def test_go(self, word, go):
        assert read_source(said(**word), ME).go == go

    @pytest.mark.parametrize(
        ("domains", "source", "target"),
        [
            ((), "NONE", "NONE"),
            ((seen("RUNNING", 4.0),), "RUNS", "RUNS"),
            ((seen("SUSPENDED", 4.0),), "STILL", "RUNS"),
            ((seen("PAUSED"),), "STILL", "STILL"),
            ((seen("PAUSED", 0.1),), "STILL", "RUNS"),
            ((seen("CRASHED", 0.1),), "STILL", "RUNS"),
            ((seen("UNKNOWN"),), "UNSEEN", "UNSEEN"),
            ((seen("RUNNING", uuid="another"),), "NONE", "NONE"),
            ((seen("PAUSED"), seen("RUNNING")), "RUNS", "RUNS"),
        ],
    )
    def test_copy(self, domains, source, target):
        assert read_source(said(*domains), ME).copy == source
        assert read_target(said(*domains), ME).copy == target

    def test_a_host_that_cannot_be_seen_has_no_copy_to_speak_of(self):
        assert read_target(said(domains=None), ME).copy == "UNSEEN"

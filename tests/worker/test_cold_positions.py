"""A cold move broken off: one point for each row of the table in docs/migration.md, judged by both hosts.

Every run breaks off a machine that is off, and one that runs where only that one has something to lose; with
EVERY_ROW=1 all of them. `python -m tests.chaos.moves` does it at all points, many times.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.worker.move_positions import How, MoveRange
from tests.worker.moving import Pair

#: who, how, at which point, how many times reached; where the machine is then
ROWS: tuple[tuple[str, How, str, int, str], ...] = (
    ("SOURCE", "kill", "CHECK is done", 1, "STAYED"),
    ("SOURCE", "kill", "the disks were gone over", 1, "STAYED"),
    ("SOURCE", "cut", "the disks were gone over", 1, "STAYED"),
    ("SOURCE", "kill", "SHUTDOWN is done", 1, "STAYED"),
    ("SOURCE", "kill", "a block is sent", 2, "STAYED"),
    ("SOURCE", "cut", "a block is sent", 2, "STAYED"),
    ("SOURCE", "cancel", "the source is off", 1, "STAYED"),
    ("SOURCE", "kill", "after GO is written down", 1, "STAYED"),
    ("SOURCE", "kill", "the source concludes", 1, "MOVED"),
    ("TARGET", "kill", "a machine has a directory", 1, "STAYED"),
    ("TARGET", "kill", "CONFIG is done", 1, "STAYED"),
    ("TARGET", "kill", "a block is written", 2, "STAYED"),
    ("TARGET", "kill", "a disk has its name", 1, "STAYED"),
    ("TARGET", "kill", "after GO is written down", 1, "MOVED"),
    ("TARGET", "kill", "DOMAIN is done", 1, "MOVED"),
)
#: those that say something about a machine that is off
OFF = {
    "a machine has a directory",
    "a block is sent",
    "a block is written",
    "a disk has its name",
    "after GO is written down",
}
#: copied while it runs, or shut down already: it must run on, or again
RUNNING = ROWS if os.environ.get("EVERY_ROW") else ROWS[1:4]


@pytest.fixture(scope="module")
def off(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MoveRange]:
    yield from _ground(tmp_path_factory.mktemp("off"), is_off=True)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MoveRange]:
    yield from _ground(tmp_path_factory.mktemp("running"), is_off=False)


def _ground(directory: Path, *, is_off: bool) -> Iterator[MoveRange]:
    pair = Pair(directory, is_shared=False)
    ground = MoveRange(pair, is_off=is_off)
    yield ground
    ground.close()
    pair.close()


def _check(ground: MoveRange, row: tuple[str, How, str, int, str]) -> None:
    side, how, name, times, verdict = row
    trial = ground.break_off(how, side, (name, times), method="COLD")
    assert trial.is_reached
    assert trial.wrong == ()
    assert trial.verdict == verdict
    assert trial.seconds < 60


@pytest.mark.parametrize("row", [row for row in ROWS if row[2] in OFF], ids=lambda row: " ".join(row[:3]))
def test_of_a_machine_that_is_off(off: MoveRange, row: tuple[str, How, str, int, str]) -> None:
    _check(off, row)


@pytest.mark.slow
@pytest.mark.parametrize("row", RUNNING, ids=lambda row: " ".join(row[:3]))
def test_of_a_machine_that_runs(running: MoveRange, row: tuple[str, How, str, int, str]) -> None:
    _check(running, row)

"""A move broken off at a few of its points; `python -m tests.chaos.moves` does it at all, many times."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.worker.move_positions import XL_STEPS, How, MoveRange, Trial
from tests.worker.moving import Pair

pytestmark = pytest.mark.slow

#: around the point of no return, on either side
SAMPLE: tuple[tuple[How, str, str], ...] = (
    ("kill", "SOURCE", "after GO is written down"),
    ("cut", "SOURCE", "a move is at READY"),
    # a cancel waits for the worker that comes back: it has to look at what is left all the same
    ("cancel and kill", "SOURCE", "after GO is written down"),
    ("kill", "SOURCE", "before a file is renamed"),
)


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[MoveRange]:
    pair = Pair(tmp_path)
    ground = MoveRange(pair)
    yield ground
    ground.close()
    pair.close()


def failures(trials: list[Trial]) -> list[Trial]:
    return [trial for trial in trials if trial.wrong]


def test_broken_off_around_the_point_of_no_return_it_runs_on_one_host(ground: MoveRange) -> None:
    trials = [ground.break_off(how, side, (name, 1)) for how, side, name in SAMPLE]
    # the order is lost with the worker, and called off
    trials.append(ground.call_off(("before a file is renamed", 1)))
    trials.append(ground.cut_at(50))
    assert [trial.verdict for trial in trials[-2:]] == ["STAYED", "STAYED"]
    trials.append(ground.kill_xl("migrate-receive", "go"))
    assert failures(trials) == []
    # xl was killed with GO in its hand: started on the target, once both hosts had been heard
    assert trials[-1].verdict == "MOVED"
    assert all(trial.is_reached for trial in trials)
    assert max(trial.seconds for trial in trials) < 60


def test_there_is_a_step_for_each_message() -> None:
    assert {"ready", "go", "reported"} <= set(XL_STEPS["migrate"])

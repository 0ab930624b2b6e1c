"""Killed and cancelled in every verb: a sample of what `make chaos` does at each position, many times."""

import pytest

from tests.worker.positions import VERBS, Range
from tests.worker.worker_host import WorkerHost

KILLS, CANCELS = 5, 3


def sample(names: list[str], size: int) -> list[tuple[int, str]]:
    """Points spread over the whole verb, the first and the last among them."""
    last = len(names) - 1
    chosen = sorted({round(number * last / (size - 1)) for number in range(size)})
    return [(index + 1, names[index]) for index in chosen]


@pytest.mark.parametrize("verb", VERBS)
class TestBrokenOff:
    def test_the_next_worker_brings_it_to_an_end(self, worker_host: WorkerHost, verb: str) -> None:
        ground = Range(worker_host)
        trials = [ground.kill(verb, *point) for point in sample(ground.names(verb), KILLS)]
        assert [(trial.name, trial.wrong) for trial in trials if trial.wrong] == []
        assert {trial.end.event for trial in trials} == {"SUCCEEDED"}
        assert sum(trial.is_reached for trial in trials) >= KILLS - 1

    def test_a_cancel_leaves_it_whole_or_undone(self, worker_host: WorkerHost, verb: str) -> None:
        ground = Range(worker_host)
        trials = [ground.cancel(verb, *point) for point in sample(ground.names(verb), CANCELS)]
        assert [(trial.name, trial.wrong) for trial in trials if trial.wrong] == []
        # before the first step it can always be taken back, after the last never
        assert (trials[0].end.event, trials[-1].end.event) == ("CANCELLED", "SUCCEEDED")


@pytest.mark.parametrize("at", ["a disk is gone", "a configuration is gone", "during xl"])
def test_killed_while_it_undoes_a_cancelled_create_the_next_worker_undoes_the_rest(
    worker_host: WorkerHost, at: str
) -> None:
    ground = Range(worker_host)
    trial = ground.kill_undo("create", after="DOMAIN is done", at=at)
    assert (trial.is_reached, trial.end.event, trial.wrong) == (True, "CANCELLED", ())

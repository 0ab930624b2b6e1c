"""The rows of kill -9 and cancel at every position of every verb, on two hosts at a time."""

import multiprocessing
import tempfile
from collections import defaultdict
from pathlib import Path

from tests.worker.bed import Bed
from tests.worker.positions import VERBS, Range, Trial

PROCESSES = 2


def positions(rounds: int) -> list[str]:
    """Print a line a verb; what was violated."""
    wrong: list[str] = []
    with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
        for how in ("kill", "cancel"):
            for verb in VERBS:
                shares = [rounds // PROCESSES + (number < rounds % PROCESSES) for number in range(PROCESSES)]
                trials = [
                    trial
                    for found in pool.starmap(run, [(how, verb, share) for share in shares if share])
                    for trial in found
                ]
                wrong += _tell(how, verb, trials)
    return wrong


def run(how: str, verb: str, rounds: int) -> list[Trial]:
    """All positions of a verb, so many times, on a host of this process's own."""
    with tempfile.TemporaryDirectory(prefix="wxchaos-", dir="/tmp") as directory:
        bed = Bed(Path(directory))
        bed.listen()
        try:
            ground = Range(bed)
            names = ground.names(verb)
            return [
                getattr(ground, how)(verb, point, name)
                for _ in range(rounds)
                for point, name in enumerate(names, 1)
            ]
        finally:
            bed.close()


def _tell(how: str, verb: str, trials: list[Trial]) -> list[str]:
    label = f"{'kill -9' if how == 'kill' else 'cancel'} at every position of {verb}"
    count = len({trial.point for trial in trials})
    held = sum(not trial.wrong for trial in trials)
    worst = max(trial.seconds for trial in trials)
    ends: dict[str, int] = defaultdict(int)
    for trial in trials:
        ends[trial.end.event] += 1
    how_ended = ", ".join(f"{number} {event.lower()}" for event, number in sorted(ends.items()))
    print(
        f"{f'{label} ({count} positions; {how_ended})':<70} {len(trials):>6} {held:>6} {worst:>9.1f}",
        flush=True,
    )
    return [
        f"{label}, point {trial.point} ({trial.name}): {line}" for trial in trials for line in trial.wrong
    ]

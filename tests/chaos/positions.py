"""Rows of kill -9 and cancel at every position of every verb, on several hosts in parallel."""

import multiprocessing
import resource
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.worker.positions import VERBS, Range, Trial
from tests.worker.preloaded import preloaded
from tests.worker.worker_host import WorkerHost
from worker.contract import Report
from worker.guest import domains

#: a trial mostly waits, for a guest's boot or for the next periodic check
PROCESSES = 10
#: durations of guests, shortened; the order of events stays the same
QUICKLY = {"boot_seconds": 0.03, "shutdown_seconds": 0.03, "linger_seconds": 0.02, "reboot_gap_seconds": 0.05}
LOOK_INTERVAL_SECONDS = 0.2
TIMEOUT_SECONDS = 240


@dataclass(frozen=True)
class Round:
    """All positions of a verb, once each."""

    trials: list[Trial]
    cpu_seconds: float


def positions(rounds: int) -> list[str]:
    """Print a line per verb; return the violations."""
    wrong: list[str] = []
    # One process per round: each trial leaves threads behind, and their number is limited.
    with multiprocessing.get_context("spawn").Pool(PROCESSES, maxtasksperchild=1) as pool:
        asked = [
            (how, verb, pool.starmap_async(run, [(how, verb)] * rounds, chunksize=1))
            for how in ("kill", "cancel")
            for verb in VERBS
        ]
        for how, verb, answer in asked:
            wrong += _tell(how, verb, answer.get())
    return wrong


def run(how: str, verb: str) -> Round:
    """All positions of a verb, on a host of its own."""
    domains.LOOK_INTERVAL_SECONDS = LOOK_INTERVAL_SECONDS
    before = cpu_seconds()
    with tempfile.TemporaryDirectory(prefix="wxchaos-", dir="/tmp") as directory, preloaded():
        worker_host = WorkerHost(Path(directory), **QUICKLY)
        worker_host.listen()
        try:
            ground = Range(worker_host, timeout=TIMEOUT_SECONDS)
            names = ground.names(verb)
            trials = list(_try_all(ground, how, verb, names))
        finally:
            worker_host.close()
    return Round(trials, cpu_seconds() - before)


def _try_all(ground: Range, how: str, verb: str, names: list[str]) -> Iterator[Trial]:
    """Try each position in turn; stop at one that does not end, because later results would mean nothing."""
    for point, name in enumerate(names, 1):
        try:
            yield getattr(ground, how)(verb, point, name)
        except AssertionError as error:
            end = Report(job_id="", machine_id="", event="STARTED")
            yield Trial(verb, how, point, name, end, 0.0, (f"I4: {error}",))
            return


def cpu_seconds() -> float:
    used = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _tell(how: str, verb: str, rounds: list[Round]) -> list[str]:
    trials = [trial for found in rounds for trial in found.trials]
    label = f"{'kill -9' if how == 'kill' else 'cancel'} at every position of {verb}"
    count = len({trial.point for trial in trials})
    held = sum(not trial.wrong for trial in trials)
    worst = max(trial.seconds for trial in trials)
    ends: dict[str, int] = defaultdict(int)
    for trial in trials:
        ends[trial.end.event] += 1
    how_ended = ", ".join(f"{number} {event.lower()}" for event, number in sorted(ends.items()))
    cost = sum(found.cpu_seconds for found in rounds) / len(trials)
    print(
        f"{f'{label} ({count} positions; {how_ended}; {cost:.2f} CPU s each)':<88}"
        f" {len(trials):>6} {held:>6} {worst:>9.1f}",
        flush=True,
    )
    return [
        f"{label}, point {trial.point} ({trial.name}): {line}" for trial in trials for line in trial.wrong
    ]

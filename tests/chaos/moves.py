"""Migrations interrupted at each point of both sides, live, suspended and cold: `make chaos CHAOS="--only
moves"`.

By kill -9 of the worker, by cutting the transport (at each point, and after 10, 50 and 90 % of the memory),
by a cancel, by a cancel with a kill, and by kill -9 of xl. Alone, with fewer kinds or methods: `python -m
tests.chaos.moves --help`.
"""

import argparse
import concurrent.futures
import multiprocessing
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from tests.chaos.positions import QUICKLY, cpu_seconds
from tests.worker.move_positions import CUTS, XL_STEPS, How, MoveRange, Point, Told, Trial
from tests.worker.moving import Pair
from tests.worker.preloaded import preloaded
from webxen.migration import verdict
from worker.contract import MoveMethod

HOWS: tuple[How, ...] = get_args(How)
#: COLD-OFF: cold, of a machine that is off; the others run
METHODS = (*get_args(MoveMethod), "COLD-OFF")
#: a trial mostly waits, for the other side or for the next periodic check
PROCESSES = 4
#: time limit until the machine's location is known
SETTLE_SECONDS = 60.0
#: files written before a host knows of an order: fencing token, journal
UNHEARD = (("before a file is renamed", 1), ("after a file is renamed", 1), ("before a file is renamed", 2))


@dataclass(frozen=True)
class Round:
    """All positions of one kind and method, once each."""

    trials: list[Trial]
    #: migrations that reached their point less often than the undisturbed one, and so were not interrupted
    missed: int
    cpu_seconds: float


def moves(
    rounds: int,
    hows: Sequence[How] = HOWS,
    methods: Sequence[str] = METHODS,
    processes: int = PROCESSES,
) -> list[str]:
    """Print a line per kind and method; return the violations."""
    kinds = [(how, method) for method in methods for how in hows]
    if "kill" in hows and "LIVE" in methods:
        kinds.append(("xl", "LIVE"))
    wrong: list[str] = []
    spawn = multiprocessing.get_context("spawn")
    # One process per round: each trial leaves threads behind, and their number is limited.
    with concurrent.futures.ProcessPoolExecutor(processes, mp_context=spawn, max_tasks_per_child=1) as pool:
        asked = [(kind, [pool.submit(run, *kind) for _ in range(rounds)]) for kind in kinds]
        for (how, method), answers in asked:
            broken = [error for answer in answers if (error := answer.exception())]
            # a round that this harness cannot finish is a violation, but the others continue
            wrong += [f"{how}, {method}: a round was not ended: {error!r}" for error in broken]
            if ended := [answer.result() for answer in answers if not answer.exception()]:
                wrong += _tell(how, method, ended)
    return wrong


def run(how: str, method: str) -> Round:
    """All positions of one kind, between two hosts of their own."""
    before = cpu_seconds()
    with (
        tempfile.TemporaryDirectory(prefix="wxchaos-", dir="/tmp", ignore_cleanup_errors=True) as folder,
        preloaded(),
    ):
        is_cold = method.startswith("COLD")
        pair = Pair(Path(folder), is_shared=not is_cold, **QUICKLY)
        ground = MoveRange(pair, judge=judge, is_off=method == "COLD-OFF")
        kind: MoveMethod = "COLD" if is_cold else method  # type: ignore[assignment]
        try:
            tried = list(_try_all(ground, how, kind))
        finally:
            ground.close()
            pair.close()
    trials = [trial for trial in tried if trial.is_reached or trial.wrong]
    return Round(trials, len(tried) - len(trials), cpu_seconds() - before)


def judge(source: Told, target: Told) -> str:
    """The portal's own table."""
    sides = [verdict.Said(**vars(told)) for told in (source, target)]
    machine_id = next((domain.uuid for told in (source, target) for domain in told.domains), "")
    looks = verdict.read_source(sides[0], machine_id), verdict.read_target(sides[1], machine_id)
    return verdict.decide(*looks).verdict.value


def _try_all(ground: MoveRange, how: str, method: MoveMethod) -> Iterator[Trial]:
    if how == "xl":
        yield from (ground.kill_xl(verb, step) for verb, steps in XL_STEPS.items() for step in steps)
        return
    places: list[tuple[str, Point]] = [
        (side, point) for side, points in ground.names(method).items() for point in points
    ]
    yield from (ground.break_off(how, side, point, method=method) for side, point in places)  # type: ignore[arg-type]
    if how == "kill":
        yield from (ground.call_off(point, method=method) for point in UNHEARD)
    if how == "cut" and method != "COLD":
        yield from (ground.cut_at(percent, method=method) for percent in CUTS)


def _tell(how: str, method: str, rounds: list[Round]) -> list[str]:
    trials = [trial for found in rounds for trial in found.trials]
    count = len({trial.where for trial in trials})
    worst = max(trial.seconds for trial in trials)
    verdicts = Counter(trial.verdict.lower() for trial in trials)
    came = ", ".join(f"{number} {word}" for word, number in sorted(verdicts.items()))
    if missed := sum(found.missed for found in rounds):
        came += f", {missed} not broken off"
    cost = sum(found.cpu_seconds for found in rounds) / len(trials)
    words = {"kill": "kill -9 at", "cut": "transport cut at", "cancel": "cancel at", "xl": "xl killed at"}
    label = f"{method.lower()} move, {words.get(how, f'{how} at')} every position"
    wrong = [
        f"{label}: {trial.where}: {line}"
        for trial in trials
        for line in (*trial.wrong, *(["not settled in time"] if trial.seconds > SETTLE_SECONDS else []))
    ]
    held = len(trials) - len({line.rpartition(": ")[0] for line in wrong})
    print(
        f"{f'{label} ({count} positions; {came}; {cost:.2f} CPU s each)':<88}"
        f" {len(trials):>6} {held:>6} {worst:>9.1f}",
        flush=True,
    )
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.moves", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="of each position")
    parser.add_argument("--hows", default=",".join(HOWS), help="by commas: %(default)s")
    parser.add_argument("--methods", default=",".join(METHODS), help="by commas: %(default)s")
    parser.add_argument("--processes", type=int, default=PROCESSES, help="rounds at a time: %(default)s")
    chosen = parser.parse_args()
    hows = [how for how in HOWS if how in chosen.hows.split(",")]
    methods = [method for method in METHODS if method in chosen.methods.upper().split(",")]
    if not hows or not methods:
        parser.error("no such kind or method")
    wrong = moves(chosen.rounds, hows, methods, chosen.processes)
    print("\n".join(["", *wrong]) if wrong else "\nzero violations")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

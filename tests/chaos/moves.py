"""`python -m tests.chaos.moves`: a move broken off at each point of both sides, ROUNDS times (20).

By kill -9 of the worker, by cutting the transport, by a cancel, and by kill -9 of xl itself; live and
suspended. METHODS and HOWS choose fewer. It prints a table, and ends with 1 when anything was wrong.
"""

import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.worker.move_positions import XL_STEPS, How, MoveRange, Trial
from tests.worker.moving import Pair
from worker.contract import MoveMethod

ROUNDS = int(os.environ.get("ROUNDS", "20"))
HOWS: tuple[How, ...] = tuple(os.environ.get("HOWS", "kill cut cancel").split())  # type: ignore[assignment]
METHODS: tuple[MoveMethod, ...] = tuple(os.environ.get("METHODS", "LIVE SUSPENDED").split())  # type: ignore[assignment]


def trials(ground: MoveRange) -> Iterator[Trial]:
    """One round."""
    for method in METHODS:
        names = ground.names(method)
        for how in HOWS:
            for side, points in names.items():
                for point in points:
                    yield ground.break_off(how, side, point, method=method)
    for verb, steps in XL_STEPS.items():
        for step in steps:
            yield ground.kill_xl(verb, step)


def main() -> int:
    wrong: list[Trial] = []
    verdicts: Counter[str] = Counter()
    slowest = 0.0
    for number in range(ROUNDS):
        with tempfile.TemporaryDirectory(prefix="moves-") as folder:
            pair = Pair(Path(folder))
            ground = MoveRange(pair)
            try:
                for trial in trials(ground):
                    verdicts[f"{trial.how} {trial.verdict}"] += 1
                    slowest = max(slowest, trial.seconds)
                    if trial.wrong:
                        wrong.append(trial)
                        print(f"round {number + 1}: {trial}", flush=True)
            finally:
                ground.close()
                pair.close()
        print(
            f"round {number + 1} of {ROUNDS}: {sum(verdicts.values())} moves, {len(wrong)} wrong", flush=True
        )
    print("\n".join(f"{name:20}{count:6}" for name, count in sorted(verdicts.items())))
    print(f"settled after at most {slowest:.1f} s; {len(wrong)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

"""`python -m tests.chaos.moves`: a move broken off at each point of both sides, ROUNDS times (20).

By kill -9 of the worker, by cutting the transport, by a cancel, and by kill -9 of xl itself; live,
suspended, and cold: of a machine that runs and of one that is off. METHODS and HOWS choose fewer. It prints
a table, and ends with 1 when anything was wrong.
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
METHODS = os.environ.get("METHODS", "LIVE SUSPENDED COLD COLD-OFF").split()


def trials(ground: MoveRange, method: MoveMethod) -> Iterator[Trial]:
    """One round of one method."""
    names = ground.names(method)
    for how in HOWS:
        for side, points in names.items():
            for point in points:
                yield ground.break_off(how, side, point, method=method)
    if method == "LIVE":
        for verb, steps in XL_STEPS.items():
            for step in steps:
                yield ground.kill_xl(verb, step)


def one_round(words: str) -> Iterator[Trial]:
    method: MoveMethod = "COLD" if words.startswith("COLD") else words  # type: ignore[assignment]
    with tempfile.TemporaryDirectory(prefix="moves-") as folder:
        pair = Pair(Path(folder), is_shared=method != "COLD")
        ground = MoveRange(pair, is_off=words == "COLD-OFF")
        try:
            yield from trials(ground, method)
        finally:
            ground.close()
            pair.close()


def main() -> int:
    wrong: list[Trial] = []
    verdicts: Counter[str] = Counter()
    slowest = 0.0
    for number in range(ROUNDS):
        for words in METHODS:
            for trial in one_round(words):
                verdicts[f"{words} {trial.how} {trial.verdict}"] += 1
                slowest = max(slowest, trial.seconds)
                if trial.wrong:
                    wrong.append(trial)
                    print(f"round {number + 1}: {words} {trial}", flush=True)
        print(
            f"round {number + 1} of {ROUNDS}: {sum(verdicts.values())} moves, {len(wrong)} wrong", flush=True
        )
    print("\n".join(f"{name:32}{count:6}" for name, count in sorted(verdicts.items())))
    print(f"settled after at most {slowest:.1f} s; {len(wrong)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

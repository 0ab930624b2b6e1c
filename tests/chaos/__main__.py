"""`make chaos`: run each fault several times and print whether the promises held and the recovery time."""

import argparse
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos import base_data, broker, secrets, slow_line  # noqa: F401  their faults join the table
from tests.chaos.faults import ROWS
from tests.chaos.moves import moves
from tests.chaos.positions import positions
from tests.chaos.running_stack import SETTLE_SECONDS, RunningStack, started


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--rounds", type=int, default=3, help="of each fault on the product, and of moves")
    parser.add_argument("--position-rounds", type=int, default=20, help="of each position of each verb")
    parser.add_argument("--only", default="", help="faults whose name holds one of these, by commas")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--port", type=int, default=8390)
    chosen = parser.parse_args()
    # so that a terminated run leaves no processes
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    print(f"seed {chosen.seed}\n\n{'fault':<88} {'rounds':>6} {'held':>6} {'worst, s':>9}")
    wrong: list[str] = []
    only = chosen.only.split(",")
    rows = [row for row in ROWS if any(word in row.__name__ for word in only)]
    if rows and chosen.rounds:
        with (
            tempfile.TemporaryDirectory(prefix="wxchaos-", dir="/tmp") as data,
            started(Path(data), chosen.port) as stack,
        ):
            for row in rows:
                wrong += _run(stack, row, chosen.rounds, chosen.seed)
    if any(word in "positions" for word in only) and chosen.position_rounds:
        wrong += positions(chosen.position_rounds)
    if any(word in "moves" for word in only) and chosen.rounds:
        wrong += moves(chosen.rounds)
    print("\n".join(["", *wrong]) if wrong else "\nzero violations")
    return 1 if wrong else 0


def _run(stack: RunningStack, row: object, rounds: int, seed: int) -> list[str]:
    name = (row.__doc__ or "").strip()
    wrong, held, worst = [], 0, 0.0
    for number in range(rounds):
        dice = random.Random(f"{seed} {name} {number}")
        started_at = time.monotonic()
        seen = row(stack, dice)  # type: ignore[operator]
        seconds = stack.settle()
        found = [*(seen or []), *stack.violations()]
        if seconds >= SETTLE_SECONDS:
            found.append(f"not settled after {time.monotonic() - started_at:.0f} s")
        held += not found
        worst = max(worst, seconds)
        told = [f"{name}, round {number}: {line}" for line in found]
        # printed at once, so that a terminated run shows its results
        print(*told, sep="\n", end="\n" * bool(told), flush=True)
        wrong += told
    print(f"{name:<88} {rounds:>6} {held:>6} {worst:>9.1f}", flush=True)
    return wrong


if __name__ == "__main__":
    sys.exit(main())

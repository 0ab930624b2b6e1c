"""Duration of every page and list with little and with much data.

`python -m tests.bench.scale [--machines 100000 --hosts 1000 --events 1000000]`: everything that alice and
dana may open, first with 100 machines, then with the large numbers, on SQLite and PostgreSQL, in one run.
Prints bytes, queries, median and 99th percentile (the largest of a dozen answers), and the ratio. The goal: a
p99 of at most 300 ms, and at most five times that of the small data set.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests import over_postgres

SMALL = (100, 3, 1000)
GOAL_SECONDS, GOAL_RATIO = 0.3, 5.0
ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def ask(url: str, data: Path, figures: tuple[int, int, int]) -> dict[str, dict[str, Any]]:
    """Return the measurements for this amount of data, by user and URL."""
    env = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "webxen.settings",
        "WEBXEN_DATA": str(data),
        "WEBXEN_SECRET_KEY": "x" * 50,
        "WEBXEN_DATABASE_URL": url,
        "WEBXEN_LOG_LEVEL": "CRITICAL",
        # hosts do not report meanwhile
        "WEBXEN_SILENT_SECONDS": "36000",
    }
    # the static files of the source tree
    argv = [
        sys.executable,
        "-W",
        "ignore:No directory at",
        "-m",
        "tests.bench.scale_world",
        *map(str, figures),
    ]
    done = subprocess.run(argv, env=env, stdout=subprocess.PIPE, text=True, check=True)
    said = json.loads(done.stdout.splitlines()[-1])
    print(
        f"  {figures}: made in {said['made_seconds']:.0f} s,"
        f" compared and planned by the clock in {said['computed_seconds']:.1f} s",
        flush=True,
    )
    return {ID.sub("ID", name): row for name, row in said["found"].items()}


def show(name: str, small: dict[str, dict[str, Any]], large: dict[str, dict[str, Any]]) -> int:
    """Print the table; return the number of rows that miss the goal."""
    print(f"\n{name}\n{'who, what':<52} {'bytes':>17} {'queries':>9}", end="")
    print(f" {'median ms':>17} {'p99 ms':>17} {'ratio':>6}")
    missed = 0
    # the last pages have different numbers in the two data sets
    pairs = zip(small.items(), large.values(), strict=True)
    for (what, before), after in pairs:
        was, now = max(before["seconds"]), max(after["seconds"])
        ratio = now / was
        is_good = now <= GOAL_SECONDS and ratio <= GOAL_RATIO and after["status"] == 200
        missed += not is_good
        medians = [1000 * statistics.median(row["seconds"]) for row in (before, after)]
        print(f"{what:<52} {before['bytes']:>7} → {after['bytes']:>7}", end="")
        print(
            f" {before['queries']:>3} → {after['queries']:>3}"
            f" {medians[0]:>7.1f} → {medians[1]:>7.1f} {1000 * was:>7.1f} → {1000 * now:>7.1f} {ratio:>6.1f}"
            f"{'' if is_good else '  MISSED ' + str(after['status'])}"
        )
    print(
        f"{len(small) - missed} of {len(small)} within {1000 * GOAL_SECONDS:.0f} ms and {GOAL_RATIO:g} times"
    )
    return missed


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.scale")
    parser.add_argument("--machines", type=int, default=100_000)
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--only", choices=("sqlite", "postgresql"))
    chosen = parser.parse_args()
    large, missed = (chosen.machines, chosen.hosts, chosen.events), 0
    with tempfile.TemporaryDirectory(prefix="webxen-scale-") as folder:
        data = Path(folder)
        if chosen.only != "postgresql":
            pair = [ask(f"sqlite://{data}/{figures[0]}.sqlite3", data, figures) for figures in (SMALL, large)]
            missed += show("SQLite", *pair)
        if chosen.only != "sqlite":
            pair = []
            for figures in (SMALL, large):
                with over_postgres.started() as url:
                    pair.append(ask(url, data, figures))
            missed += show("PostgreSQL", *pair)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

"""Records when each domain ran, to detect a domain that ran twice at the same time.

Appends to running.jsonl and reads it. A domain that was never seen to stop counts as running.
"""

import json
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

FILE = "running.jsonl"


@dataclass(frozen=True)
class Run:
    """One run of a domain on one host."""

    host: str
    uuid: str
    domid: int
    start: float
    stop: float = float("inf")


@dataclass(frozen=True)
class Overlap:
    """Two runs of a uuid at the same time."""

    uuid: str
    first: Run
    second: Run


def record(
    directory: Path, *, host: str, uuid: str, name: str, domid: int, event: Literal["START", "STOP"]
) -> None:
    line = {"t": time.time(), "host": host, "uuid": uuid, "name": name, "domid": domid, "event": event}
    # one write to a file opened for appending, so that lines of several processes do not mix
    fd = os.open(directory / FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(fd, json.dumps(line).encode() + b"\n")
    finally:
        os.close(fd)


def runs(path: Path) -> list[Run]:
    """The runs in one host's recording, in the order in which they began."""
    found: list[Run] = []
    open_runs: dict[tuple[str, int], int] = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        entry = json.loads(line)
        key = (entry["uuid"], entry["domid"])
        if entry["event"] == "START":
            open_runs[key] = len(found)
            found.append(Run(entry["host"], entry["uuid"], entry["domid"], entry["t"]))
        elif key in open_runs:
            run = found[open_runs[key]]
            found[open_runs.pop(key)] = Run(run.host, run.uuid, run.domid, run.start, entry["t"])
    return found


def overlaps(paths: Iterable[Path]) -> list[Overlap]:
    """The uuids that ran twice at the same time, over the recordings of any number of hosts."""
    by_uuid: dict[str, list[Run]] = {}
    for path in paths:
        for run in runs(path / FILE if path.is_dir() else path):
            by_uuid.setdefault(run.uuid, []).append(run)
    found: list[Overlap] = []
    for uuid, lives in by_uuid.items():
        lives.sort(key=lambda run: run.start)
        for index, first in enumerate(lives):
            found.extend(
                Overlap(uuid, first, second) for second in lives[index + 1 :] if second.start < first.stop
            )
    return found

"""What this host has begun and finished, on disk, so that a killed worker can go on.

Lives here: one file a job, written before the first effect and after each thing that matters, and
the highest fence seen for each machine. What is done about an unfinished job is `orders`.
"""

import dataclasses
import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from worker.files import write_durably

logger = logging.getLogger(__name__)

#: Kept so long that no envelope can outlive its entry (envelopes live for a day at most).
KEEP_SECONDS = 30 * 24 * 3600

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass
class Entry:
    """One job as this host knows it."""

    job_id: str
    machine_id: str
    #: the order as `contract.encode` writes it; its seed is dropped when the job ends
    order: dict[str, Any]
    state: Literal["RUNNING", "CLEANING", "ENDED"] = "RUNNING"
    attempts: int = 0
    #: the boot of dom0 in which this was last begun
    boot_id: str = ""
    #: what the job has made or must remember, e.g. {"disk:<id>": "made"}
    marks: dict[str, str] = field(default_factory=dict)
    #: the end report as `contract.encode` writes it
    end: dict[str, Any] | None = None


class Journal:
    """The directory of entries. Each is written by whoever holds its machine's lock."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def write(self, entry: Entry) -> None:
        """Raises OSError, e.g. when the disk is full: then nothing may be done."""
        text = json.dumps(dataclasses.asdict(entry), separators=(",", ":"))
        write_durably(self._path(entry.job_id), text.encode())

    def read(self, job_id: str) -> Entry | None:
        return _read(self._path(job_id))

    def entries(self) -> list[Entry]:
        """All entries that can be read; one that cannot be is set aside, and the others go on."""
        found = [_read(path) for path in sorted(self.directory.glob("[!.]*.json"))]
        return [entry for entry in found if entry is not None]

    def is_told(self, job_id: str) -> bool:
        return self._told(job_id).exists()

    def mark_told(self, job_id: str) -> None:
        """The broker has taken the end report. A file of its own: the entry may be in other hands."""
        try:
            self._told(job_id).touch(mode=0o600)
        except OSError as error:
            logger.warning("job %s will be reported again: %s", job_id, error)

    def ask_cancel(self, job_id: str) -> None:
        """Seen at the job's next safe point, also after a restart. Raises OSError."""
        write_durably(self._cancel(job_id), b"")

    def is_cancel_asked(self, job_id: str) -> bool:
        return self._cancel(job_id).exists()

    def forget_old(self, *, now: float) -> None:
        """Remove what ended, was told, and is older than any envelope could be."""
        for path in self.directory.glob("[!.]*.told"):
            entry = self.read(path.stem)
            if path.stat().st_mtime < now - KEEP_SECONDS and (entry is None or entry.state == "ENDED"):
                self._path(path.stem).unlink(missing_ok=True)
                self._cancel(path.stem).unlink(missing_ok=True)
                path.unlink(missing_ok=True)

    def _path(self, job_id: str) -> Path:
        return self.directory / f"{job_id}.json"

    def _cancel(self, job_id: str) -> Path:
        return self.directory / f"{job_id}.cancel"

    def _told(self, job_id: str) -> Path:
        return self.directory / f"{job_id}.told"


def _read(path: Path) -> Entry | None:
    try:
        values = json.loads(path.read_bytes())
        names = {spec.name for spec in dataclasses.fields(Entry)}
        entry = Entry(**{key: value for key, value in values.items() if key in names})
        _check(entry)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        logger.error("journal entry %s cannot be read and is set aside: %s", path.name, error)
        path.replace(path.with_suffix(".bad"))
        return None
    return entry if entry.job_id == path.stem else None


def _check(entry: Any) -> None:
    """Raises TypeError: what is no entry of ours must not be continued as if it were one."""
    texts = (entry.job_id, entry.machine_id, entry.boot_id, *entry.marks.keys(), *entry.marks.values())
    is_good = (
        all(isinstance(text, str) for text in texts)
        and isinstance(entry.order, dict)
        and isinstance(entry.end, dict | None)
        and entry.state in ("RUNNING", "CLEANING", "ENDED")
        and type(entry.attempts) is int
    )
    if not is_good:
        raise TypeError("a field is not of its type")


def read_boot_id() -> str:
    return BOOT_ID.read_text().strip()


def read_fence(path: Path) -> int:
    """The highest fence accepted for a machine; -1 when none was."""
    try:
        return int(path.read_text())
    except FileNotFoundError:
        return -1


def write_fence(path: Path, fence: int) -> None:
    write_durably(path, str(fence).encode())

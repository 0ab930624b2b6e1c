"""The journal: what this host has begun and finished, on disk, so that a killed worker can continue.

One file per job, written before the first effect and after each important change, and the highest fencing
number per machine. Each entry carries an HMAC with a key derived from the host's private key. Which entries
may be executed is decided in `worker.job.accepted`.
"""

import dataclasses
import hashlib
import hmac
import json
import logging
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from worker.contract import MAX_ENVELOPE_BYTES
from worker.errors import FenceUnreadable
from worker.files import read_bounded, write_durably
from worker.job.reserve import Reserve

logger = logging.getLogger(__name__)

#: Longer than any envelope is valid (at most a day), so that an envelope cannot be executed twice.
KEEP_SECONDS = 30 * 24 * 3600
#: an entry holds one envelope, escaped once more as JSON, and marks
MAX_ENTRY_BYTES = 4 * MAX_ENVELOPE_BYTES
MAX_FENCE_BYTES = 64

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass
class Entry:
    """One job as this host knows it."""

    job_id: str
    machine_id: str
    #: the order as the portal signed it; "" where it held secrets and the job has ended
    envelope: str = ""
    #: the portal's public keys (PEM) that this host trusted when it accepted the order
    portal_keys: str = ""
    state: Literal["RUNNING", "CLEANING", "ENDED"] = "RUNNING"
    attempts: int = 0
    #: dom0's boot id at the last attempt
    boot_id: str = ""
    #: what the job has made or must remember, e.g. {"disk:<id>": "made"}
    marks: dict[str, str] = field(default_factory=dict)
    #: the end report as `contract.encode` writes it
    end: dict[str, Any] | None = None
    #: not stored: whether the HMAC is valid, i.e. this host wrote the entry
    is_ours: bool = True


class Journal:
    """The directory of entries. An entry is written by the thread that holds its machine's lock."""

    def __init__(self, directory: Path, *, reserve: Reserve | None = None) -> None:
        self.directory = directory
        self.reserve = reserve or Reserve(directory, size_bytes=0)
        self._key = secrets.token_bytes(32)

    def authenticate_with(self, host_key_file: Path) -> None:
        """Derive the HMAC key from this host's private key. Raises OSError."""
        self._key = hashlib.sha256(b"webxen journal\n" + host_key_file.read_bytes()).digest()

    def write(self, entry: Entry, *, is_urgent: bool = False) -> None:
        """Write an entry durably. Raises OSError, e.g. when the disk is full; the job must not go on then.

        Ends and cleanups may use the reserve, and so may an urgent order, which is one that frees disk space.
        """
        values = {spec.name: getattr(entry, spec.name) for spec in dataclasses.fields(entry)}
        del values["is_ours"]
        text = json.dumps({**values, "hmac": self._hmac(values)}, separators=(",", ":"))
        self._write(
            self._path(entry.job_id), text.encode(), may_use_reserve=is_urgent or entry.state != "RUNNING"
        )

    def _write(self, path: Path, content: bytes, *, may_use_reserve: bool) -> None:
        if may_use_reserve:
            self.reserve.write(lambda: write_durably(path, content))
        else:
            write_durably(path, content)

    def _hmac(self, values: dict[str, Any]) -> str:
        text = json.dumps(values, sort_keys=True, separators=(",", ":"))
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()

    def read(self, job_id: str) -> Entry | None:
        """The entry of a job, or None if there is none or it cannot be read. Raises OSError."""
        return self._read(self._path(job_id))

    def entries(self) -> list[Entry]:
        """All readable entries. An unreadable one is renamed to `.bad` and skipped."""
        found = [self._read(path) for path in sorted(self.directory.glob("[!.]*.json"))]
        return [entry for entry in found if entry is not None]

    def _read(self, path: Path) -> Entry | None:
        try:
            values = json.loads(read_bounded(path, MAX_ENTRY_BYTES))
            found = values.pop("hmac", "")
            names = {spec.name for spec in dataclasses.fields(Entry)} - {"is_ours"}
            entry = Entry(**{key: value for key, value in values.items() if key in names})
            _check(entry)
            entry.is_ours = hmac.compare_digest(str(found).encode(), self._hmac(values).encode())
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            logger.error("journal entry %s cannot be read and is set aside: %s", path.name, error)
            path.replace(path.with_suffix(".bad"))
            return None
        return entry if entry.job_id == path.stem else None

    def is_told(self, job_id: str) -> bool:
        """Whether the broker has accepted the job's end report."""
        return self._told(job_id).exists()

    def mark_told(self, job_id: str) -> None:
        """Record that the broker accepted the end report, in a file of its own: another thread may hold the
        entry.
        """
        try:
            write_durably(self._told(job_id), b"")
        except OSError as error:
            logger.warning("job %s will be reported again: %s", job_id, error)

    def ask_cancel(self, job_id: str) -> None:
        """Record a cancel. The job sees it at its next safe point, also after a restart. Raises OSError."""
        self._write(self._cancel(job_id), b"", may_use_reserve=True)

    def is_cancel_asked(self, job_id: str) -> bool:
        """Whether a cancel of the job was recorded."""
        return self._cancel(job_id).exists()

    def forget_old(self, *, now: float) -> None:
        """Remove entries that ended, were delivered and are older than any envelope.

        `now` in seconds since the epoch.
        """
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


def _check(entry: Any) -> None:
    """Raises TypeError for an entry with a field of a wrong type."""
    texts = [entry.job_id, entry.machine_id, entry.envelope, entry.portal_keys, entry.boot_id]
    is_good = (
        all(isinstance(text, str) for text in (*texts, *entry.marks.keys(), *entry.marks.values()))
        and isinstance(entry.end, dict | None)
        and entry.state in ("RUNNING", "CLEANING", "ENDED")
        and type(entry.attempts) is int
    )
    if not is_good:
        raise TypeError("a field is not of its type")


def read_boot_id() -> str:
    """The id of dom0's current boot. Raises OSError."""
    return BOOT_ID.read_text().strip()


def read_fence(path: Path) -> int:
    """The highest fencing number accepted for a machine, or -1 if there is none. Raises FenceUnreadable."""
    try:
        fence = int(read_bounded(path, MAX_FENCE_BYTES))
    except FileNotFoundError:
        return -1
    except (OSError, ValueError) as error:
        raise unreadable_fence(path) from error
    if fence < 0:
        raise unreadable_fence(path)
    return fence


def unreadable_fence(path: Path) -> FenceUnreadable:
    """The error for a machine whose last fencing number is not known."""
    return FenceUnreadable("FENCE_FILE_DAMAGED", path=path)


def write_fence(path: Path, fence: int) -> None:
    """Store the highest fencing number accepted for a machine durably. Raises OSError."""
    write_durably(path, str(fence).encode())

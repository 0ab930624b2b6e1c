"""The catalogue of findings of `verify`, single findings, and their output as text. Pure.

docs/verify.md lists the same codes; a test compares. `compare` finds differences, `verify` corrects them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from webxen.core.messages import Message


class Severity(StrEnum):
    #: a disk may be damaged at this moment
    CRITICAL = "CRITICAL"
    ERROR = "ERROR"
    WARNING = "WARNING"
    #: not visible, so not judged
    UNSEEN = "UNSEEN"


class Kind(NamedTuple):
    severity: Severity
    cure: Message
    #: `--fix` may correct it without touching a disk, a domain or a user's quota
    is_mendable: bool = False


C, E, W, U = Severity.CRITICAL, Severity.ERROR, Severity.WARNING, Severity.UNSEEN
CATALOGUE: dict[str, Kind] = {
    "MACHINE_RUNS_TWICE": Kind(C, Message("CURE_MACHINE_RUNS_TWICE")),
    "MACHINE_ELSEWHERE": Kind(C, Message("CURE_MACHINE_ELSEWHERE")),
    "DATABASE_OLDER": Kind(
        E,
        Message("CURE_DATABASE_OLDER"),
    ),
    "MACHINE_MISSING_HERE": Kind(
        E,
        Message("CURE_MACHINE_MISSING_HERE"),
    ),
    "MACHINE_DELETED_SINCE": Kind(E, Message("CURE_MACHINE_DELETED_SINCE")),
    "DOMAIN_OF_DELETED": Kind(E, Message("CURE_DOMAIN_OF_DELETED")),
    "DOMAIN_UNKNOWN": Kind(E, Message("CURE_DOMAIN_UNKNOWN")),
    "VOLUME_MISSING": Kind(E, Message("CURE_VOLUME_MISSING")),
    "VOLUME_ELSEWHERE": Kind(E, Message("CURE_VOLUME_ELSEWHERE")),
    "VOLUME_ORPHAN": Kind(
        E,
        Message("CURE_VOLUME_ORPHAN"),
    ),
    "VOLUME_SIZE": Kind(W, Message("CURE_VOLUME_SIZE")),
    "MACHINE_FILES_ORPHAN": Kind(W, Message("CURE_MACHINE_FILES_ORPHAN")),
    "MACHINE_WITHOUT_DISK": Kind(E, Message("CURE_MACHINE_WITHOUT_DISK")),
    "POWER_WRONG": Kind(W, Message("CURE_POWER_WRONG"), is_mendable=True),
    "MEMORY_WRONG": Kind(W, Message("CURE_SHAPE_WRONG")),
    "VCPUS_WRONG": Kind(W, Message("CURE_SHAPE_WRONG")),
    "FENCE_BEHIND": Kind(
        E,
        Message("CURE_FENCE_BEHIND"),
        is_mendable=True,
    ),
    "JOB_OVERDUE": Kind(E, Message("CURE_JOB_OVERDUE")),
    "JOB_ONLY_ON_HOST": Kind(
        W,
        Message("CURE_JOB_ONLY_ON_HOST"),
    ),
    "QUOTA_DRIFT": Kind(W, Message("CURE_RESERVATION_LOST"), is_mendable=True),
    "RESERVATION_LOST": Kind(
        E,
        Message("CURE_QUOTA_DRIFT"),
        is_mendable=True,
    ),
    "HOST_MEMORY_DRIFT": Kind(W, Message("CURE_HOST_MEMORY_DRIFT"), is_mendable=True),
    "ADDRESS_TWICE": Kind(E, Message("CURE_ADDRESS_TWICE")),
    "ADDRESS_NOT_HELD": Kind(E, Message("CURE_ADDRESS_NOT_HELD")),
    "ADDRESS_OF_DELETED": Kind(W, Message("CURE_ADDRESS_OF_DELETED"), is_mendable=True),
    "CLOCK_AHEAD": Kind(
        E,
        Message("CURE_CLOCK_AHEAD"),
    ),
    "MACHINE_FAILED_RUNS": Kind(
        W,
        Message("CURE_MACHINE_FAILED_RUNS"),
    ),
    "SEED_KEPT": Kind(W, Message("CURE_SEED_KEPT"), is_mendable=True),
    "ROUND_FAILS": Kind(E, Message("CURE_ROUND_FAILS")),
    "POOL_FULL": Kind(E, Message("CURE_POOL_FILLING")),
    "POOL_FILLING": Kind(W, Message("CURE_POOL_FILLING")),
    "PORTAL_KEY_UNUSABLE": Kind(E, Message("CURE_PORTAL_KEY_UNUSABLE")),
    "IMAGE_DIFFERS": Kind(W, Message("CURE_IMAGE_DIFFERS")),
    "HOST_SILENT": Kind(U, Message("CURE_HOST_SILENT")),
    "DOMAINS_UNREADABLE": Kind(U, Message("CURE_DOMAINS_UNREADABLE")),
    "HOLDINGS_UNSEEN": Kind(U, Message("CURE_HOLDINGS_UNSEEN")),
    "POOL_UNSEEN": Kind(U, Message("CURE_POOL_UNSEEN")),
    "HOLDINGS_CUT": Kind(U, Message("CURE_HOLDINGS_CUT")),
}
ORDER = list(Severity)


@dataclass(frozen=True)
class Finding:
    """One difference, or one thing that was not visible."""

    code: str
    #: one clear sentence
    said: Message
    hosts: tuple[str, ...] = ()
    #: name and id of the machine concerned, if any
    machine: str = ""
    machine_id: str = ""
    #: a command for staff, if there is one
    command: str = ""
    #: the row that `--fix` would change, and the value it would write
    target: str = ""
    value: str = ""
    #: severity of this finding if it differs from its code's
    weight: Severity | None = None
    #: False if `--fix` must not correct this particular finding
    is_safe: bool = True

    @property
    def severity(self) -> Severity:
        return self.weight or CATALOGUE[self.code].severity

    @property
    def cure(self) -> Message:
        return CATALOGUE[self.code].cure

    @property
    def is_mendable(self) -> bool:
        return self.is_safe and CATALOGUE[self.code].is_mendable

    def as_json(self) -> dict[str, object]:
        return {
            "code": self.code,
            "severity": str(self.severity),
            "hosts": list(self.hosts),
            "machine": self.machine or None,
            "machine_id": self.machine_id or None,
            "said": self.said,
            "message": self.said.as_json(),
            "cure": self.cure,
            "command": self.command or None,
            "is_mendable": self.is_mendable,
        }


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings, most severe first."""
    return sorted(findings, key=lambda f: (ORDER.index(f.severity), f.code, f.hosts, f.machine, f.said))


def exit_status(findings: Sequence[Finding]) -> int:
    """Return 0: all agrees. 1: something differs. 2: nothing differs, but not all was visible."""
    if any(finding.severity != Severity.UNSEEN for finding in findings):
        return 1
    return 2 if findings else 0


def as_text(findings: Sequence[Finding], *, summary: str) -> str:
    """Return a table of the findings, followed by the remedy for each code."""
    rows = [("SEVERITY", "CODE", "HOST", "MACHINE", "WHAT")]
    rows += [(str(f.severity), f.code, ", ".join(f.hosts) or "-", f.machine or "-", f.said) for f in findings]
    lines = align(rows) if findings else []
    for code in dict.fromkeys(f.code for f in findings):
        fix = " [--fix]" if CATALOGUE[code].is_mendable else ""
        lines += ["", f"{code}{fix}: {CATALOGUE[code].cure}"]
        lines += [f"  {f.command}" for f in findings if f.code == code and f.command]
    return "\n".join([*map(printable, lines), "", summary] if findings else [summary])


def align(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Align columns; the last one is not padded."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    return [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]).rstrip()
        for row in rows
    ]


def printable(text: str) -> str:
    """Replace unprintable characters: names come from hosts and could manipulate a terminal."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)

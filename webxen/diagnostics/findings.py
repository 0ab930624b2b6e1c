"""The catalogue of findings of `verify`, single findings, and their output as text. Pure.

docs/verify.md lists the same codes; a test compares. `compare` finds differences, `verify` corrects them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class Severity(StrEnum):
    #: a disk may be damaged at this moment
    CRITICAL = "CRITICAL"
    ERROR = "ERROR"
    WARNING = "WARNING"
    #: not visible, so not judged
    UNSEEN = "UNSEEN"


class Kind(NamedTuple):
    severity: Severity
    cure: str
    #: `--fix` may correct it without touching a disk, a domain or a user's quota
    is_mendable: bool = False


C, E, W, U = Severity.CRITICAL, Severity.ERROR, Severity.WARNING, Severity.UNSEEN
CATALOGUE: dict[str, Kind] = {
    "MACHINE_RUNS_TWICE": Kind(
        C, "Stop it at once on the host where it does not belong, then check the disk's file system."
    ),
    "MACHINE_ELSEWHERE": Kind(
        C, "Find out who moved it. Stop it there, or correct its host; never start it here."
    ),
    "DATABASE_OLDER": Kind(
        E,
        "Look at what is told below, take missing machines back (manage.py readopt --all) and mend the rest"
        " (manage.py verify --fix). Then confirm that you have looked, here or with manage.py end_restore.",
    ),
    "MACHINE_MISSING_HERE": Kind(
        E,
        "It is somebody's machine: touch neither its domain nor its disks. manage.py readopt writes it into"
        " the database again, from what this portal has signed and the host has kept.",
    ),
    "MACHINE_DELETED_SINCE": Kind(
        E, "Delete it here, too: that gives its quota and its address back, and nothing is left on the host."
    ),
    "DOMAIN_OF_DELETED": Kind(E, "Find out why it runs, and ask its owner before you shut it down by hand."),
    "DOMAIN_UNKNOWN": Kind(E, "Somebody started it by hand: leave it, move it away, or stop it by hand."),
    "VOLUME_MISSING": Kind(
        E, "Do not start the machine. Look for the volume on the other hosts and in backups."
    ),
    "VOLUME_ELSEWHERE": Kind(E, "Find out who moved it; the machine cannot start from there."),
    "VOLUME_ORPHAN": Kind(
        E,
        "Find out whose it is, in backups of the database, too. It may be the only copy of somebody's"
        " machine: copy it before you remove anything.",
    ),
    "VOLUME_SIZE": Kind(W, "Find out who changed it; the quota counts what the database says."),
    "MACHINE_FILES_ORPHAN": Kind(
        W, "Find out whose they are, in backups of the database, too. Left where they are they do no harm."
    ),
    "MACHINE_WITHOUT_DISK": Kind(E, "Its rows are damaged: restore them from a backup of the database."),
    "POWER_WRONG": Kind(W, "--fix takes the power that the host has just shown.", is_mendable=True),
    "MEMORY_WRONG": Kind(W, "Power the machine off and start it: it then gets what the database says."),
    "VCPUS_WRONG": Kind(W, "Power the machine off and start it: it then gets what the database says."),
    "FENCE_BEHIND": Kind(
        E,
        "The host's files are newer than the database, as after restoring a backup: check what was done"
        " since. --fix lifts the fence, so that the host obeys again.",
        is_mendable=True,
    ),
    "JOB_OVERDUE": Kind(E, "See that beat and the reports worker run: the sweep ends such jobs by itself."),
    "JOB_ONLY_ON_HOST": Kind(
        W,
        "The host works at a job that is not open here. Wait; look at the host's log if it stays.",
    ),
    "QUOTA_DRIFT": Kind(W, "--fix settles the ledger: it then says what machines hold.", is_mendable=True),
    "RESERVATION_LOST": Kind(
        E,
        "Find out how it came about. --fix settles the ledger: it then says what machines hold.",
        is_mendable=True,
    ),
    "HOST_MEMORY_DRIFT": Kind(
        W, "--fix sets the promised memory to the sum of its machines.", is_mendable=True
    ),
    "ADDRESS_TWICE": Kind(E, "Two machines answer to one address: delete or re-make one of them."),
    "ADDRESS_NOT_HELD": Kind(E, "Another machine may be given the same address: make the missing row."),
    "ADDRESS_OF_DELETED": Kind(W, "--fix gives the address back.", is_mendable=True),
    "CLOCK_AHEAD": Kind(
        E,
        "Set the host's clock (chrony), or the portal's if every host is ahead: an order is void when a clock"
        " is further ahead than WEBXEN_ORDER_TTL_SECONDS.",
    ),
    "MACHINE_FAILED_RUNS": Kind(
        W,
        "Its owner can shut it down or power it off: once its host has done so, it is as good as any other.",
    ),
    "SEED_KEPT": Kind(W, "--fix removes them: nothing needs them once a machine is made.", is_mendable=True),
    "ROUND_FAILS": Kind(
        E,
        "It is tried again in every round; the others go on. The logs of clock and reports hold its id.",
    ),
    "POOL_FULL": Kind(E, "Make room in the pool or make it larger; machines that find no room wait for it."),
    "POOL_FILLING": Kind(
        W, "Make room in the pool or make it larger; machines that find no room wait for it."
    ),
    "PORTAL_KEY_UNUSABLE": Kind(
        E, "`manage.py portal_key` makes one that is missing; the portal's account must be able to read it."
    ),
    "IMAGE_DIFFERS": Kind(W, "Put the registered file onto the host, or register the new one."),
    "HOST_SILENT": Kind(
        U, "Start the worker's services on the host and look at its network, then verify again."
    ),
    "DOMAINS_UNREADABLE": Kind(U, "Look at the host: `xl list` does not answer there."),
    "HOLDINGS_UNSEEN": Kind(U, "Update the worker on the host: this one does not say which disks it has."),
    "POOL_UNSEEN": Kind(U, "Look at the pool on the host: its volumes could not be listed."),
    "HOLDINGS_CUT": Kind(U, "The host has more than it can tell in one message: look at it by hand."),
}
ORDER = list(Severity)


@dataclass(frozen=True)
class Finding:
    """One difference, or one thing that was not visible."""

    code: str
    #: one clear sentence
    said: str
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
    def cure(self) -> str:
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

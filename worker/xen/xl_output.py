"""Parses what `xl` prints: `xl list -v`, `xl info`, `xl list -l`. Pure.

Output that cannot be parsed raises `Unreadable`; it never means "no domains". Columns are found by their
headings and facts by their names, because Xen adds some from version to version. A domain made by hand may
have any name, so domains are identified by uuid.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from worker.contract import UUID, DomainSeen, Power

ID = UUID.pattern
#: columns of `xl list -v` that are needed, and what they hold
NEEDED = {
    "ID": r"(?P<domid>\d{1,9})",
    "Mem": r"(?P<memory>\d{1,18})",
    "VCPUs": r"(?P<vcpus>\d{1,9})",
    "State": r"(?P<flags>[r-][b-][p-][s-][-rscwS?][d-])",
    "UUID": rf"(?P<uuid>{ID})",
}
#: columns that may be missing
KNOWN = {
    **NEEDED,
    "Time(s)": r"(?P<cpu>\d{1,15}\.\d)",
    "Reason-Code": r"(?:-|[0-9a-f]+)",
    "Security-Label": r"\S+",
}
#: Two lines run together would look like one domain with a long name. So a name must not hold the middle of a
#: line, and a name longer than its column (40) may be followed only by the blanks that pad a short domid.
NAME = rf"(?P<name>(?:(?! \d+\.\d {ID}).)+?)(?P<blanks> +)"
NAME_WIDTH, MOST_BLANKS = 40, 5
#: `xl info` of Xen 4.20 has 36 lines; longer output is cut here
MOST_FACTS = 1000
#: `xl migrate` follows it with advice to compare both hosts by hand, because it does not know the outcome.
#: The worker does, or its error says that it does not: the advice in the same message would contradict it.
ADVICE = "** Migration failed during final handshake **"


class XlError(Exception):
    """xl or a xenstore tool failed; `lines` are the last lines that it printed."""

    def __init__(self, sentence: str, lines: tuple[str, ...] = ()) -> None:
        self.lines = lines
        super().__init__("\n".join((sentence, *lines)))


class Unreadable(XlError):
    """The output cannot be parsed, so nothing is known."""


@dataclass(frozen=True)
class Domain:
    """One line of `xl list -v`."""

    domid: int
    #: "" if it has none
    name: str
    uuid: str
    memory_mib: int
    vcpus: int
    #: running, blocked, paused, shut down, reason, dying; e.g. "-b----"
    flags: str
    cpu_seconds: float

    def as_seen(self) -> DomainSeen:
        """The domain in the form that is reported to the portal."""
        return DomainSeen(
            domain=self.name,
            uuid=self.uuid,
            domid=self.domid,
            power=self.power,
            memory_mib=self.memory_mib,
            vcpus=self.vcpus,
            cpu_seconds=self.cpu_seconds,
        )

    @property
    def is_dying(self) -> bool:
        """Whether the domain is being destroyed."""
        return self.flags[5] == "d"

    @property
    def is_shut_down(self) -> bool:
        """Whether the guest has ended while its domain (and its name) still exists."""
        return self.flags[3] == "s"

    @property
    def is_rebooting(self) -> bool:
        """Whether the guest has ended to restart: xl is about to make its next domain."""
        return self.is_shut_down and self.flags[4] == "r"

    @property
    def is_half_made(self) -> bool:
        """Whether it has no name: xl is making it, or left it behind. It runs no guest.

        A domain that has ended or is dying may have lost its name as well ("--psr-" in a reboot, seen on Xen
        4.20).
        """
        return not (self.name or self.is_dying or self.is_shut_down)

    @property
    def power(self) -> Power:
        """The power that the flags mean; "UNKNOWN" while the domain is made or destroyed."""
        if self.is_dying or self.is_half_made:
            return "UNKNOWN"
        if self.is_shut_down:
            powers: dict[str, Power] = {"-": "OFF", "s": "SUSPENDED", "c": "CRASHED"}
            return powers.get(self.flags[4], "UNKNOWN")
        return "PAUSED" if self.flags[2] == "p" else "RUNNING"


def parse_list(text: str) -> tuple[Domain, ...]:
    """Parse `xl list -v`; without Domain-0. Raises Unreadable, also when the output was cut.

    Domain-0 must be in the list: Xen lists it from its start, whether or not it has been named.
    """
    lines = text.split("\n")
    pattern = _pattern(lines[0])
    if lines[-1] or pattern is None:
        raise Unreadable("xl list printed something that is not a list", last_words(text))
    rows = [_row(pattern, line) for line in lines[1:-1]]
    domids = {row.domid for row in rows}
    if 0 not in domids:
        raise Unreadable("xl list left Domain-0 out", last_words(text))
    if len(domids) < len(rows):
        raise Unreadable("xl list printed an id twice", last_words(text))
    return tuple(row for row in rows if row.domid != 0)


def _pattern(heading: str) -> "re.Pattern[str] | None":
    """The pattern of a line below this heading; None if it is not a heading of `xl list -v`."""
    first, *columns = heading.replace("Security Label", "Security-Label").split() or [""]
    if first != "Name" or not set(NEEDED) <= set(columns) or len(set(columns)) < len(columns):
        return None
    # an unknown column holds one word or is empty
    words = [rf" +{KNOWN[column]}" if column in KNOWN else r"(?: +\S+)?" for column in columns]
    words[0] = words[0].removeprefix(" +")
    return re.compile(NAME + "".join(words) + " *", re.ASCII)


def _row(pattern: "re.Pattern[str]", line: str) -> Domain:
    match = pattern.fullmatch(line)
    if match is None or (len(match["name"]) > NAME_WIDTH and len(match["blanks"]) > MOST_BLANKS):
        raise Unreadable("xl list printed a line that cannot be read", (line[:200],))
    found = match.groupdict()
    return Domain(
        domid=int(found["domid"]),
        name="" if found["name"] == "(null)" else found["name"],
        uuid=found["uuid"],
        memory_mib=int(found["memory"]),
        vcpus=int(found["vcpus"]),
        flags=found["flags"],
        cpu_seconds=float(found.get("cpu") or 0.0),
    )


def parse_info(text: str) -> dict[str, str]:
    """Parse `xl info`. Lines that are not "name : value" are skipped.

    Raises Unreadable without memory figures.
    """
    facts: dict[str, str] = {}
    for line in text.splitlines()[:MOST_FACTS]:
        key, colon, value = line.partition(":")
        if colon and re.fullmatch(r"[A-Za-z0-9_.-]+ *", key):
            facts[key.strip()] = value.strip()
    missing = [key for key in ("total_memory", "free_memory") if key not in facts]
    if missing or not text.endswith("\n"):
        raise Unreadable(f"xl info says nothing of {', '.join(missing) or 'its end'}", last_words(text))
    for key in ("total_memory", "free_memory"):
        if not re.fullmatch(r"\d{1,18}", facts[key], re.ASCII):
            raise Unreadable(f"xl info gives no number for {key}", (facts[key][:200],))
    return facts


def parse_configs(text: str) -> dict[int, dict[str, Any]]:
    """Parse `xl list -l`: domid -> configuration; without Domain-0. Raises Unreadable, also when the output
    was cut.

    xl leaves out domains without a stored configuration: those that other tools made, and Domain-0 if it was
    not set up by xen-init-dom0.
    """
    try:
        entries = json.loads(text)
        configs = {entry["domid"]: entry["config"] for entry in entries}
    except (ValueError, TypeError, KeyError, RecursionError):
        raise Unreadable("xl list -l printed something that is not a list", last_words(text)) from None
    if not isinstance(entries, list) or not all(
        type(domid) is int and isinstance(config, Mapping) for domid, config in configs.items()
    ):
        raise Unreadable("xl list -l printed something that is not a list", last_words(text))
    return {domid: config for domid, config in configs.items() if domid != 0}


def last_words(printed: str, lines: int = 8) -> tuple[str, ...]:
    """The last lines of an output, short enough for a report and without control characters."""
    told = printed.partition(ADVICE)[0]
    cleaned = (re.sub(r"[^\x20-\x7e\u00a0-\uffff]", " ", line).strip() for line in told.splitlines())
    return tuple(line[:300] for line in cleaned if line)[-lines:]

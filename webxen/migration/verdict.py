"""Decide where a machine is after a migration that may have failed anywhere, from facts of both hosts. Pure.

In TABLE the first matching row counts; docs/migration.md shows the same rows and a test compares. `finalize`
acts on the outcome.

Three facts make this safe. A relay that has recorded that it is closed never passes a GO any more, even if it
is killed. Without a GO the target's copy stays paused. And a domain on the target with CPU time has run.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from webxen.core.messages import Message
from worker.contract import DomainSeen


class Go(StrEnum):
    """What one host's relay knows of the GO, the point of no return."""

    #: closed without having passed it: it never will
    NEVER = "NEVER"
    #: passed, and the relay has ended
    PASSED = "PASSED"
    #: the relay has not ended, or that is not known: it may still pass it
    OPEN = "OPEN"


class Copy(StrEnum):
    """What one host has of the machine."""

    #: it runs there, or has run
    RUNS = "RUNS"
    #: it is there but does not run: suspended on the source, never unpaused on the target
    STILL = "STILL"
    NONE = "NONE"
    #: the host does not report, or cannot tell
    UNSEEN = "UNSEEN"


class Verdict(StrEnum):
    MOVED = "MOVED"
    STAYED = "STAYED"
    UNKNOWN = "UNKNOWN"


class Look(NamedTuple):
    """One host's side of a migration."""

    go: Go
    copy: Copy


class Row(NamedTuple):
    """One row of the table; an empty set matches everything."""

    source_go: frozenset[Go]
    source: frozenset[Copy]
    target_go: frozenset[Go]
    target: frozenset[Copy]
    verdict: Verdict
    why: str

    def fits(self, source: Look, target: Look) -> bool:
        pairs = (
            (self.source_go, source.go),
            (self.source, source.copy),
            (self.target_go, target.go),
            (self.target, target.copy),
        )
        return all(not wanted or is_seen in wanted for wanted, is_seen in pairs)


def _row(
    source: tuple[Iterable[Go], Iterable[Copy]],
    target: tuple[Iterable[Go], Iterable[Copy]],
    verdict: Verdict,
    why: str,
) -> Row:
    return Row(
        frozenset(source[0]), frozenset(source[1]), frozenset(target[0]), frozenset(target[1]), verdict, why
    )


NEVER, PASSED, OPEN = Go.NEVER, Go.PASSED, Go.OPEN
RUNS, STILL, NONE, UNSEEN = Copy.RUNS, Copy.STILL, Copy.NONE, Copy.UNSEEN
MOVED, STAYED, UNKNOWN = Verdict.MOVED, Verdict.STAYED, Verdict.UNKNOWN
TABLE: tuple[Row, ...] = (
    _row(((), (RUNS,)), ((), (RUNS,)), UNKNOWN, Message("VERDICT_RUNS_ON_BOTH")),
    _row(((NEVER,), ()), ((PASSED,), ()), UNKNOWN, Message("VERDICT_GO_CONTRADICTED")),
    _row(((NEVER,), ()), ((), (RUNS,)), UNKNOWN, Message("VERDICT_STARTED_BY_HAND")),
    _row(((), ()), ((NEVER,), (RUNS,)), UNKNOWN, Message("VERDICT_STARTED_BY_HAND")),
    _row(((), (UNSEEN,)), ((PASSED,), (RUNS,)), MOVED, Message("VERDICT_MOVED")),
    _row(((), (UNSEEN,)), ((), ()), UNKNOWN, Message("VERDICT_SOURCE_UNSEEN")),
    _row(((NEVER,), (RUNS,)), ((), ()), STAYED, Message("VERDICT_NEVER_LEFT_RUNS")),
    _row(((NEVER,), (STILL,)), ((), ()), STAYED, Message("VERDICT_NEVER_LEFT_RESUMED")),
    _row(((NEVER,), (NONE,)), ((), ()), STAYED, Message("VERDICT_NEVER_LEFT_OFF")),
    _row(((), (RUNS,)), ((NEVER,), ()), STAYED, Message("VERDICT_NEVER_CAME_RUNS")),
    _row(((), (STILL,)), ((NEVER,), ()), STAYED, Message("VERDICT_NEVER_CAME_RESUMED")),
    _row(((), (NONE,)), ((NEVER,), ()), STAYED, Message("VERDICT_NEVER_CAME_OFF")),
    _row(((), ()), ((), (UNSEEN,)), UNKNOWN, Message("VERDICT_TARGET_UNSEEN")),
    _row(((), ()), ((OPEN,), ()), UNKNOWN, Message("VERDICT_GO_MAY_COME")),
    _row(((), (STILL, NONE)), ((PASSED,), (RUNS,)), MOVED, Message("VERDICT_MOVED")),
    _row(((OPEN,), ()), ((PASSED,), ()), UNKNOWN, Message("VERDICT_SOURCE_SILENT")),
    _row(
        ((PASSED,), (RUNS,)),
        ((PASSED,), ()),
        STAYED,
        Message("VERDICT_TARGET_FAILED"),
    ),
    _row(
        ((PASSED,), (STILL, NONE)),
        ((PASSED,), (STILL,)),
        MOVED,
        Message("VERDICT_START_ON_TARGET"),
    ),
    _row(((PASSED,), (NONE,)), ((PASSED,), (NONE,)), MOVED, Message("VERDICT_OFF_ON_TARGET")),
    _row(
        ((PASSED,), (STILL,)),
        ((PASSED,), (NONE,)),
        UNKNOWN,
        Message("VERDICT_MAY_HAVE_RUN"),
    ),
)


class Decision(NamedTuple):
    verdict: Verdict
    why: str


def decide(source: Look, target: Look) -> Decision:
    """Return where the machine is, and why; UNKNOWN if no row matches."""
    row = next((row for row in TABLE if row.fits(source, target)), None)
    return Decision(row.verdict, row.why) if row else Decision(UNKNOWN, Message("VERDICT_NO_RULE"))


@dataclass(frozen=True)
class Said:
    """What one host has reported, as needed by the table."""

    #: its order was sent at least once
    is_ordered: bool
    #: its order ended, or was refused before anything began
    has_ended: bool
    is_refused: bool = False
    is_go_passed: bool = False
    is_closed: bool = False
    #: None: not known
    domains: tuple[DomainSeen, ...] | None = None


def read_source(said: Said, machine_id: str) -> Look:
    """Return the GO and the copy of the source, as columns of the outcome table."""
    return Look(_go(said), _copy(said.domains, machine_id, counts_time=False))


def read_target(said: Said, machine_id: str) -> Look:
    """Return the GO and the copy of the target; a copy with CPU time counts as having run."""
    return Look(_go(said), _copy(said.domains, machine_id, counts_time=True))


def _go(said: Said) -> Go:
    if not said.is_ordered or said.is_refused:
        return NEVER
    if said.is_go_passed:
        return PASSED if said.has_ended else OPEN
    return NEVER if said.is_closed else OPEN


def _copy(domains: tuple[DomainSeen, ...] | None, machine_id: str, *, counts_time: bool) -> Copy:
    """On the target a paused or dead domain counts as having run if it has CPU time."""
    if domains is None:
        return UNSEEN
    ours = [domain for domain in domains if domain.uuid == machine_id]
    if any(domain.power == "UNKNOWN" for domain in ours):
        return UNSEEN
    if any(domain.power == "RUNNING" or (counts_time and domain.cpu_seconds > 0) for domain in ours):
        return RUNS
    return STILL if ours else NONE

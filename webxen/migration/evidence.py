"""Read a migration's rows into the input of the outcome table, and into evidence for people.

Writes and decides nothing.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from webxen.inventory import queries as inventory
from webxen.jobs.observing import SETTLING
from webxen.migration.models import Move, MoveSide
from webxen.migration.verdict import Decision, Look, Said, decide, read_source, read_target
from worker.contract import DomainSeen

#: errors of a host that had not begun, so that its relay never ran; the same holds if it was cancelled before
REFUSED_BEFORE = frozenset(
    {"ORDER_REFUSED", "FENCED", "JOURNAL_UNWRITABLE", "FENCE_UNREADABLE", "WORKER_TOO_OLD"}
)
FIELDS = ("domain", "uuid", "domid", "power", "memory_mib", "vcpus", "cpu_seconds")


@dataclass(frozen=True)
class Sides:
    """Both sides of a migration."""

    source: MoveSide
    target: MoveSide

    def other(self, side: MoveSide) -> MoveSide:
        return self.target if side.side == MoveSide.Side.SOURCE else self.source

    def __iter__(self) -> Any:
        return iter((self.source, self.target))


def sides_of(move: Move) -> Sides:
    """Return both sides of a migration."""
    found = {side.side: side for side in MoveSide.objects.filter(move=move).select_related("host")}
    return Sides(found["SOURCE"], found["TARGET"])


def domains_of(side: MoveSide, *, now: datetime) -> tuple[DomainSeen, ...] | None:
    """The machine's domains on that host, by its latest message; None if it is silent or cannot tell."""
    host = side.host
    if inventory.is_silent(host=host, now=now):
        return None
    told = side.facts.get("domains")
    is_newer = host.observed_at is not None and (
        side.facts_at is None or host.observed_at > side.facts_at + SETTLING
    )
    seen = host.domains if is_newer or told is None else told
    if seen is None:
        return None
    ours = [row for row in seen if row.get("uuid") == str(side.move.job.machine_id)]
    return tuple(DomainSeen(**{field: row[field] for field in FIELDS if field in row}) for row in ours)


def heard_for(owing: list[MoveSide], since: datetime, now: datetime) -> timedelta:
    """How long all hosts that owe an answer have been reporting; plain time if no host owes one."""
    heard = (inventory.heard_for(host=side.host, since=since, now=now) for side in owing)
    return min(heard, default=now - since)


def said(side: MoveSide, *, now: datetime) -> Said:
    """Return a side's reports as input of the outcome table."""
    return Said(
        is_ordered=side.ordered_at is not None,
        has_ended=bool(side.end),
        # a host that has begun a migration always reports facts with its end
        is_refused=not side.facts and (side.error_code in REFUSED_BEFORE or side.end == "CANCELLED"),
        is_go_passed=bool(side.facts.get("go_passed")),
        is_closed=bool(side.facts.get("closed")),
        domains=domains_of(side, now=now),
    )


def looks(sides: Sides, *, now: datetime) -> tuple[Look, Look]:
    """Return the columns of the outcome table for source and target."""
    machine_id = str(sides.source.move.job.machine_id)
    return (
        read_source(said(sides.source, now=now), machine_id),
        read_target(said(sides.target, now=now), machine_id),
    )


def judge(sides: Sides, *, now: datetime) -> tuple[Decision, Look, Look]:
    """Apply the outcome table; return its decision with both sides."""
    source, target = looks(sides, now=now)
    return decide(source, target), source, target


# --- for people ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Evidence:
    """What one host has reported of a migration."""

    host: str
    side: str
    is_silent: bool
    heard_at: datetime | None
    phase: str
    go: str
    copy: str
    end: str
    message: str
    domains: tuple[DomainSeen, ...]


def evidence(*, move: Move, now: datetime) -> list[Evidence]:
    """Return both sides, as they last reported."""
    sides = sides_of(move)
    found = []
    for side, look in zip(sides, looks(sides, now=now), strict=True):
        found.append(
            Evidence(
                host=side.host.name,
                side=side.side,
                is_silent=inventory.is_silent(host=side.host, now=now),
                heard_at=side.heard_at or side.host.observed_at,
                phase=str(side.facts.get("phase", "NONE")),
                go=look.go,
                copy=look.copy,
                end=side.end,
                message=side.cleaning_message or side.error_message,
                domains=domains_of(side, now=now) or (),
            )
        )
    return found


@dataclass(frozen=True)
class Gauge:
    """Progress of a migration, for display; -1: not known."""

    source: str
    target: str
    method: str
    phase: str
    verdict: str
    why: str
    percent: int
    sent_mib: int
    memory_mib: int
    rate_mib_s: float
    passes: int
    remaining_seconds: float
    blackout_ms: int
    is_past_go: bool
    #: MiB to copy: memory, or the data of the disks
    total_mib: int
    #: the source still has the disks that were copied
    is_keeping: bool
    #: the source was told to delete them
    is_letting_go: bool


def gauge(*, move: Move) -> Gauge:
    """Return the progress of a migration."""
    sides = sides_of(move)
    facts, other = sides.source.facts, sides.target.facts
    memory = int(facts.get("memory_mib") or move.job.machine.memory_mib)
    return Gauge(
        source=sides.source.host.name,
        target=sides.target.host.name,
        method=move.method,
        phase=move.phase,
        verdict=move.verdict,
        why=move.why,
        percent=move.job.progress,
        sent_mib=int(facts.get("bytes_sent", 0)) >> 20,
        memory_mib=memory,
        rate_mib_s=round(float(facts.get("rate_mib_s", 0.0)), 1),
        passes=int(facts.get("passes", 0)),
        remaining_seconds=float(facts.get("remaining_seconds", -1.0)),
        blackout_ms=max(int(facts.get("blackout_ms", -1)), int(other.get("blackout_ms", -1))),
        is_past_go=bool(facts.get("go_passed") or other.get("go_passed")),
        total_mib=int(facts.get("total_mib") or (0 if move.method == Move.Method.COLD else memory)),
        is_keeping=move.is_keeping,
        is_letting_go=move.is_keeping and move.discard_asked_at is not None,
    )

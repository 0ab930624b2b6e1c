"""Progress steps of a job with the time each took, from its events. Pure.

A step is shown as done only if its host reported it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

from worker import contract

BOOT = tuple(step.code for step in contract.BOOT)
#: The steps of each kind of job in order, as far as they are shown.
STEPS_OF: dict[str, tuple[str, ...]] = {
    kind: tuple(step.code for step in contract.VERBS[kind].steps) for kind in contract.JOB_KINDS
}
#: too short to be reported every time: shown only if they were
OPTIONAL = frozenset({"READY", "GO"})
CLEANING = "CLEANING"
#: steps that do not lead to the job's goal: the host checks its order, or cleans up
UNSHOWN = frozenset({"ACCEPT", "LISTEN", "SETTLE", CLEANING})
OPEN = ("PENDING", "QUEUED", "RUNNING")


class EventLike(Protocol):
    """The part of a JobEvent that is used here."""

    @property
    def event(self) -> str: ...
    @property
    def step(self) -> str: ...
    @property
    def at(self) -> datetime: ...


Event = TypeVar("Event", bound=EventLike)


@dataclass(frozen=True)
class Step:
    """One step.

    `state`: done, now, failed, cancelled, lost (the host never reported the end), todo, or unheard (not
    reported and no longer expected). `seconds`: None if it was not reported.
    """

    code: str
    state: str
    seconds: float | None = None


def steps_of(*, kind: str, method: str = "", restarts: bool = False) -> tuple[str, ...]:
    """Return the expected steps of a job of this kind, in order."""
    if kind == "MIGRATE" and method == "COLD":
        return contract.VERBS[kind].variants["COLD_RESTARTS" if restarts else "COLD"]
    return STEPS_OF.get(kind, ())


def lay_out(
    *,
    kind: str,
    status: str,
    events: Iterable[EventLike],
    finished_at: datetime | None,
    now: datetime,
    method: str = "",
    restarts: bool = False,
    is_unanswered: bool = False,
) -> list[Step]:
    """Return the steps with state and duration.

    A step lasts from its first report to the first report of the next one, the last step to the job's end.
    `method` and `restarts` are a migration's; `is_unanswered`: the job was given up because its host was
    silent.
    """
    expected = steps_of(kind=kind, method=method, restarts=restarts)
    events = list(events)
    heard = _heard(kind, method, events)
    shown = [code for code in heard if code not in UNSHOWN]
    order = _order(expected, shown)
    current = _current(kind, order, shown)
    place_now = order.index(current) if current else -1
    steps = []
    for place, code in enumerate(order):
        seconds = _seconds(code, heard, finished_at or now) if code in heard else None
        if code == current:
            state = "lost" if is_unanswered else _current_state(status, heard, events)
        elif code in heard and (place < place_now or status == "SUCCEEDED"):
            state = "done"
        else:
            state = "todo" if status in OPEN and place > place_now else "unheard"
        steps.append(Step(code, state, seconds))
    return steps


def cleaning(*, status: str, events: Iterable[EventLike]) -> str:
    """Return whether an unsuccessful job is cleaned up: now, done, lost (not known), or "" if not begun."""
    told = [(event.event, event.step) for event in events]
    if not any(step == CLEANING for _, step in told):
        return ""
    if status in OPEN:
        return "now"
    # after cleaning up, a host reports the end with the step that failed
    return "done" if status != "SUCCEEDED" and told[-1][1] != CLEANING else "lost"


def without_waits_that_were_none(events: Sequence[Event]) -> list[Event]:
    """Drop the PENDING event of a job that was queued in the same moment."""
    nexts = [*events[1:], None]
    return [
        event
        for event, after in zip(events, nexts, strict=True)
        if not (event.event == "PENDING" and after and after.event == "QUEUED" and after.at == event.at)
    ]


def off_seconds(events: Iterable[EventLike]) -> float | None:
    """Seconds a cold migration kept the machine off: from the shutdown request to the domain on the
    target.
    """
    asked = started = None
    for event in events:
        if event.step == "SHUTDOWN" and asked is None:
            asked = event.at
        if event.step == "DOMAIN" and event.event.startswith("TARGET") and started is None:
            started = event.at
    return max(0.0, (started - asked).total_seconds()) if asked and started else None


def _heard(kind: str, method: str, events: Iterable[EventLike]) -> dict[str, datetime]:
    """Return when each step was first reported, in order; a restarted job starts over."""
    began: dict[str, datetime] = {}
    for event in events:
        if event.event == "STARTED":
            began.clear()
        code = event.step
        if kind == "MIGRATE":
            code = _step_of_move(event, method)
        if code:
            began.setdefault(code, event.at)
    return began


def _step_of_move(event: EventLike, method: str) -> str:
    """Two hosts report: boot steps count only from the target, because the source may restart the machine."""
    if event.step in BOOT and not event.event.startswith("TARGET"):
        return ""
    if method != "COLD":
        return event.step
    # the target writes the configuration twice, and nothing runs there yet at the hand-over
    return {"CONFIG": "", "REPORTED": "GO"}.get(event.step, event.step)


def _order(expected: Sequence[str], shown: Sequence[str]) -> list[str]:
    """Return the expected steps; an unexpected one is inserted after the one reported before it."""
    order = [code for code in expected if code not in OPTIONAL or code in shown]
    before = ""
    for code in shown:
        if code not in order:
            order.insert(order.index(before) + 1 if before else len(order), code)
        before = code
    return order


def _current(kind: str, order: Sequence[str], shown: Sequence[str]) -> str:
    """Return the step reported last; of two hosts that report concurrently, the furthest."""
    if not shown:
        return ""
    return max(shown, key=order.index) if kind == "MIGRATE" else shown[-1]


def _current_state(status: str, heard: dict[str, datetime], events: Iterable[EventLike]) -> str:
    """A job being cleaned up is still open, but the step it had reached is not."""
    if status in OPEN and CLEANING in heard:
        return "cancelled" if any(event.event == "CANCEL_ASKED" for event in events) else "failed"
    if status in OPEN:
        return "now"
    return {"SUCCEEDED": "done", "CANCELLED": "cancelled"}.get(status, "failed")


def _seconds(code: str, heard: dict[str, datetime], end: datetime) -> float:
    """Seconds from its first report to that of the next reported step."""
    codes = list(heard)
    place = codes.index(code) + 1
    until = heard[codes[place]] if place < len(codes) else end
    return max(0.0, (until - heard[code]).total_seconds())

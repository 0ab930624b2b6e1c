"""The boot bar: a job's events laid out as steps with the time each took. Pure: values in, values out.

A step is shown as done only if its host reported it; what nobody reported is never assumed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

from worker import contract

BOOT = tuple(step.code for step in contract.BOOT)
#: The order in which a host takes the steps of each kind of job, as far as people need to see them.
STEPS_OF: dict[str, tuple[str, ...]] = {
    kind: tuple(step.code for step in contract.VERBS[kind].steps) for kind in contract.JOB_KINDS
}
#: too short to be reported every time: shown only if they were
OPTIONAL = frozenset({"READY", "GO"})
CLEANING = "CLEANING"
#: not steps towards the job's goal: the host checks its order, or removes what is left over
UNSHOWN = frozenset({"ACCEPT", "LISTEN", "SETTLE", CLEANING})
OPEN = ("PENDING", "QUEUED", "RUNNING")


class EventLike(Protocol):
    """What is read of a JobEvent."""

    @property
    def event(self) -> str: ...
    @property
    def step(self) -> str: ...
    @property
    def at(self) -> datetime: ...


Event = TypeVar("Event", bound=EventLike)


@dataclass(frozen=True)
class Step:
    """One stop of the boot bar.

    `state`: done, now, failed, cancelled, lost (its host never said how it ended), todo, or unheard
    (its host has not reported it, and it is not expected any more). `seconds`: None if it was not reported.
    """

    code: str
    state: str
    seconds: float | None = None


def steps_of(*, kind: str, method: str = "", restarts: bool = False) -> tuple[str, ...]:
    """The steps a job of this kind is expected to take, in order."""
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
    """A step lasts from its first news to the first news of the next, the last one to the job's end.

    `method` and `restarts` are a move's; `is_unanswered`: the job was given up because its host was silent.
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
    """Whether a job that came to nothing is cleaned up: now, done, lost (not known), or "" if not begun."""
    told = [(event.event, event.step) for event in events]
    if not any(step == CLEANING for _, step in told):
        return ""
    if status in OPEN:
        return "now"
    # a host tells the end with the step at which it failed, once it has cleaned up
    return "done" if status != "SUCCEEDED" and told[-1][1] != CLEANING else "lost"


def without_waits_that_were_none(events: Sequence[Event]) -> list[Event]:
    """A job that found a host at once was never kept waiting, though it was written down as waiting first."""
    nexts = [*events[1:], None]
    return [
        event
        for event, after in zip(events, nexts, strict=True)
        if not (event.event == "PENDING" and after and after.event == "QUEUED" and after.at == event.at)
    ]


def off_seconds(events: Iterable[EventLike]) -> float | None:
    """How long a cold move kept a machine off: from the request to shut down to its domain on the target."""
    asked = started = None
    for event in events:
        if event.step == "SHUTDOWN" and asked is None:
            asked = event.at
        if event.step == "DOMAIN" and event.event.startswith("TARGET") and started is None:
            started = event.at
    return max(0.0, (started - asked).total_seconds()) if asked and started else None


def _heard(kind: str, method: str, events: Iterable[EventLike]) -> dict[str, datetime]:
    """When each step was first reported, in that order; a job that is begun again starts over."""
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
    """Two hosts report: of a boot only the target's counts, for the source may start the machine again."""
    if event.step in BOOT and not event.event.startswith("TARGET"):
        return ""
    if method != "COLD":
        return event.step
    # the target writes the configuration twice, and nothing runs there yet when the word is handed over
    return {"CONFIG": "", "REPORTED": "GO"}.get(event.step, event.step)


def _order(expected: Sequence[str], shown: Sequence[str]) -> list[str]:
    """The expected steps; one that nobody expected stands behind the one reported before it."""
    order = [code for code in expected if code not in OPTIONAL or code in shown]
    before = ""
    for code in shown:
        if code not in order:
            order.insert(order.index(before) + 1 if before else len(order), code)
        before = code
    return order


def _current(kind: str, order: Sequence[str], shown: Sequence[str]) -> str:
    """The step reported last; of two hosts that report side by side the furthest."""
    if not shown:
        return ""
    return max(shown, key=order.index) if kind == "MIGRATE" else shown[-1]


def _current_state(status: str, heard: dict[str, datetime], events: Iterable[EventLike]) -> str:
    """A job that is being cleaned up goes on, but the step it had reached does not."""
    if status in OPEN and CLEANING in heard:
        return "cancelled" if any(event.event == "CANCEL_ASKED" for event in events) else "failed"
    if status in OPEN:
        return "now"
    return {"SUCCEEDED": "done", "CANCELLED": "cancelled"}.get(status, "failed")


def _seconds(code: str, heard: dict[str, datetime], end: datetime) -> float:
    """From its first news to that of whatever was reported next."""
    codes = list(heard)
    place = codes.index(code) + 1
    until = heard[codes[place]] if place < len(codes) else end
    return max(0.0, (until - heard[code]).total_seconds())

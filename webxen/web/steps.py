"""The boot bar: a job's events laid out as steps with the time each took. Pure: values in, values out."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

#: The order in which a host takes the steps of each kind of job, as far as people need to see them.
STEPS_OF: dict[str, tuple[str, ...]] = {
    "CREATE": ("TEMPLATE", "DISK", "SEED", "CONFIG", "DOMAIN", "KERNEL", "INIT", "LOGIN"),
    "START": ("CONFIG", "DOMAIN", "KERNEL", "INIT", "LOGIN"),
    "SHUTDOWN": ("SHUTDOWN", "GONE"),
    "REBOOT": ("REBOOT", "DOMAIN", "KERNEL", "INIT", "LOGIN"),
    "POWEROFF": ("DOMAIN",),
    "DELETE": ("DOMAIN", "DISK"),
    "MIGRATE": ("CHECK", "LISTENING", "CONNECT", "STREAM", "GO", "REPORTED"),
}
#: steps of the host's own that say nothing to people: it checks the order it was sent
UNSHOWN = frozenset({"ACCEPT", "LISTEN"})
OPEN = ("PENDING", "QUEUED", "RUNNING")


class EventLike(Protocol):
    """What is read of a JobEvent."""

    @property
    def event(self) -> str: ...
    @property
    def step(self) -> str: ...
    @property
    def at(self) -> datetime: ...


@dataclass(frozen=True)
class Step:
    """One stop of the boot bar. `state`: done, now, failed or todo."""

    code: str
    state: str
    seconds: float | None = None


def lay_out(
    *, kind: str, status: str, events: Iterable[EventLike], finished_at: datetime | None, now: datetime
) -> list[Step]:
    """A step lasts from its first news to the first news of the next, the last one to the job's end."""
    began: dict[str, datetime] = {}
    for event in events:
        if event.step and event.step not in UNSHOWN:
            began.setdefault(event.step, event.at)
    heard = sorted(began, key=lambda code: began[code])
    expected = STEPS_OF.get(kind, ())
    order = [*expected, *(code for code in heard if code not in expected)]
    ends = dict(zip(heard, [began[code] for code in heard[1:]], strict=False))
    current = heard[-1] if heard else ""
    steps = []
    for place, code in enumerate(order):
        is_passed = bool(current) and place < order.index(current)
        seconds = None
        if code in began:
            end = ends.get(code) or finished_at or now
            seconds = max(0.0, (end - began[code]).total_seconds())
        steps.append(Step(code, _state(status, is_current=code == current, is_passed=is_passed), seconds))
    return steps


def _state(status: str, *, is_current: bool, is_passed: bool) -> str:
    if status == "SUCCEEDED" or is_passed:
        return "done"
    if is_current:
        return "now" if status in OPEN else "failed"
    return "todo"

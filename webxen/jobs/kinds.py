"""Rules of kinds of jobs that need more than one order to one host.

Other apps register them when Django starts; jobs imports none of them. An unregistered kind is plain: its
order goes to the job's host, whose reports end the job.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import Any
from uuid import UUID

from django.db.models.expressions import Combinable

from webxen.accounts.models import User
from webxen.inventory.models import Host
from webxen.jobs import orders, rounds
from webxen.jobs.models import Job
from worker import contract


class Outcome(StrEnum):
    """Result of sending a job's order."""

    SENT = "SENT"
    #: nothing to send, or an obstacle that concerns only this job or host
    HELD = "HELD"
    BROKER_AWAY = "BROKER_AWAY"


class JobKind:
    """Rules of a kind of job; a subclass overrides what it needs."""

    #: name of its step in the sweep's log and failures
    name = ""
    #: relations that are loaded with a job; those that are hosts
    related: tuple[str, ...] = ()
    #: relations whose rows prevent the deletion of a job
    beside: tuple[str, ...] = ()

    def handle_report(self, *, host: Host, report: contract.Report, now: datetime) -> bool | None:
        """Apply a report. Return True if it changed something, None if it is not about such a job."""
        return None

    def send(self, *, job: Job, now: datetime) -> Outcome:
        """Send what the job's hosts have not answered yet."""
        return Outcome.HELD

    def sweep(self, *, now: datetime) -> int:
        """Do the periodic work; return the number of jobs that made progress."""
        return 0

    def why_too_late(self, *, job: Job) -> str:
        """Return why an open job cannot be cancelled any more, or ""."""
        return ""

    def cancel_waiting(self, *, job: Job, actor: User, now: datetime) -> bool:
        """Cancel a job that was not sent to any host; return False if it was sent and a host has to
        answer.
        """
        return False

    def note_cancel(self, *, job: Job) -> None:
        """Make the next sweep send the cancellation at once."""

    def deadline_seconds(self, *, job: Job) -> int:
        """How long the hosts may take, in seconds; by default as the verb's row says."""
        return orders.deadline_seconds(job.kind)

    def on_the_way(self, *, host: Host) -> Collection[UUID]:
        """Ids of machines that are leaving or entering this host in an open job."""
        return ()

    def disks_held(self, *, host_ids: Collection[UUID]) -> Iterable[tuple[UUID, UUID]]:
        """Yield (disk id, host id) for disks that use space on a host other than their machine's."""
        return ()


_kinds: dict[str, JobKind] = {}
_follow_ups: dict[str, Callable[..., int]] = {}
_needs: list[Callable[[], Combinable]] = []


def register(kind: str, rules: JobKind) -> None:
    """Register the rules of a kind of job. Call it in AppConfig.ready."""
    _kinds[kind] = rules


def follow_up(name: str, run: Callable[..., int]) -> None:
    """Call `run(now=…)` in each sweep and after reports of registered kinds. `run` returns a count."""
    _follow_ups[name] = run


def keep(condition: Callable[[], Combinable]) -> None:
    """Keep ended jobs (`OuterRef("pk")`) for which the condition is true, however old they are."""
    _needs.append(condition)


def rules_of(kind: str) -> JobKind | None:
    """Return the rules of a registered kind; None for a plain one."""
    return _kinds.get(kind)


def registered() -> Mapping[str, JobKind]:
    """Return the rules of all registered kinds, by kind."""
    return _kinds


def sweep(*, now: datetime) -> int:
    """Sweep every registered kind; a failing one does not stop the others. Return the total."""
    return sum(rounds.once(rules.name, partial(rules.sweep, now=now), now=now) for rules in _kinds.values())


def run_follow_ups(*, now: datetime) -> int:
    """Run the registered follow-ups; a failing one does not stop the others. Return the total."""
    return sum(rounds.once(name, partial(run, now=now), now=now) for name, run in _follow_ups.items())


def still_needed() -> list[Any]:
    """Return the conditions under which an ended job is kept."""
    return [condition() for condition in _needs]


def why_too_late(*, job: Job) -> str:
    """Return why an open job of a registered kind cannot be cancelled any more, or ""."""
    rules = rules_of(job.kind)
    return rules.why_too_late(job=job) if rules is not None else ""


def handle_report(*, host: Host, report: contract.Report, job_id: UUID | None, now: datetime) -> bool | None:
    """Pass a report to its job's kind, or to all registered kinds if no job has its id. None: plain."""
    job = Job.objects.filter(id=job_id).only("kind").first() if job_id is not None else None
    asked = list(_kinds.values()) if job is None else [_kinds[job.kind]] if job.kind in _kinds else []
    answers = (rules.handle_report(host=host, report=report, now=now) for rules in asked)
    return next((answer for answer in answers if answer is not None), None)


def related() -> tuple[str, ...]:
    """Return the relations of registered kinds that are loaded with a job."""
    return tuple(path for rules in _kinds.values() for path in rules.related)

"""What is particular about a kind of job. Apps register theirs when Django starts; jobs imports none of them.

A kind that nobody registered is plain: its order goes to the job's one host, whose reports end the job.
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
from webxen.jobs import rounds
from webxen.jobs.models import Job
from worker import contract


class Outcome(StrEnum):
    """What came of sending a job's order."""

    SENT = "SENT"
    #: there is nothing to send, or something stands in the way that is this job's or this host's alone
    HELD = "HELD"
    BROKER_AWAY = "BROKER_AWAY"


class JobKind:
    """A kind of job that is sent, awaited and ended by its own app; a subclass overrides what it needs."""

    #: names its turn in the sweep's log and failures
    name = ""
    #: relations that are read with a job, and those of them that are hosts
    related: tuple[str, ...] = ()
    #: relations whose rows keep a job from being deleted
    beside: tuple[str, ...] = ()

    def handle_report(self, *, host: Host, report: contract.Report, now: datetime) -> bool | None:
        """Take a report. True: it moved something. None: it is not about such a job."""
        return None

    def send(self, *, job: Job, now: datetime) -> Outcome:
        """Send what the job's hosts have not answered yet."""
        return Outcome.HELD

    def sweep(self, *, now: datetime) -> int:
        """The clock's share of the work: how many jobs went on."""
        return 0

    def why_too_late(self, *, job: Job) -> str:
        """Why an open job cannot be cancelled any more, as a sentence; "" where it can."""
        return ""

    def cancel_waiting(self, *, job: Job, actor: User, now: datetime) -> bool:
        """Cancel a job of which no host was told yet. False: one was, and has to answer."""
        return False

    def note_cancel(self, *, job: Job) -> None:
        """A cancel was asked for: it is sent at once, whenever the last order was."""

    def deadline_seconds(self, *, job: Job) -> int:
        """How long the hosts may take."""
        raise NotImplementedError

    def on_the_way(self, *, host: Host) -> Collection[UUID]:
        """Machines that leave this host or come to it in an open job."""
        return ()

    def disks_held(self, *, host_ids: Collection[UUID]) -> Iterable[tuple[UUID, UUID]]:
        """(disk, host) where a disk takes space on a host that is not, or not yet, its machine's."""
        return ()


_kinds: dict[str, JobKind] = {}
_follow_ups: dict[str, Callable[..., int]] = {}
_needs: list[Callable[[], Combinable]] = []


def register(kind: str, rules: JobKind) -> None:
    """Give a kind of job its own rules. Call it in AppConfig.ready."""
    _kinds[kind] = rules


def follow_up(name: str, run: Callable[..., int]) -> None:
    """Call `run(now=…)` with each sweep, and after a registered kind took a report. It answers a count."""
    _follow_ups[name] = run


def keep(condition: Callable[[], Combinable]) -> None:
    """An ended job (`OuterRef("pk")`) for which this is true is not forgotten, however old it is."""
    _needs.append(condition)


def rules_of(kind: str) -> JobKind | None:
    """The rules of a registered kind; None for a plain one."""
    return _kinds.get(kind)


def registered() -> Mapping[str, JobKind]:
    return _kinds


def sweep(*, now: datetime) -> int:
    """The clock's share of every registered kind; one that fails keeps none of the others from its turn."""
    return sum(rounds.once(rules.name, partial(rules.sweep, now=now), now=now) for rules in _kinds.values())


def run_follow_ups(*, now: datetime) -> int:
    return sum(rounds.once(name, partial(run, now=now), now=now) for name, run in _follow_ups.items())


def still_needed() -> list[Any]:
    """Conditions under which an ended job is kept."""
    return [condition() for condition in _needs]


def why_too_late(*, job: Job) -> str:
    """Why an open job of a registered kind cannot be cancelled any more, or ""."""
    rules = rules_of(job.kind)
    return rules.why_too_late(job=job) if rules is not None else ""


def handle_report(*, host: Host, report: contract.Report, job_id: UUID | None, now: datetime) -> bool | None:
    """Give a report to the kind it is about; to every registered one where no job has its id. None: plain."""
    job = Job.objects.filter(id=job_id).only("kind").first() if job_id is not None else None
    asked = list(_kinds.values()) if job is None else [_kinds[job.kind]] if job.kind in _kinds else []
    answers = (rules.handle_report(host=host, report=report, now=now) for rules in asked)
    return next((answer for answer in answers if answer is not None), None)


def related() -> tuple[str, ...]:
    return tuple(path for rules in _kinds.values() for path in rules.related)

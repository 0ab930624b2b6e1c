"""The job kind MIGRATE: such a job is sent to two hosts and ended by this app."""

from collections.abc import Collection, Iterable
from datetime import datetime
from uuid import UUID

from django.db.models import Exists, OuterRef, Q

from webxen.accounts.models import User
from webxen.inventory.models import Host
from webxen.jobs import kinds
from webxen.jobs.models import Job
from webxen.migration import dispatch, operations, queries
from webxen.migration.models import Move, MoveSide
from worker import contract


class MigrationKind(kinds.JobKind):
    """Rules of jobs of kind MIGRATE."""

    name = "moves"
    related = ("move__source", "move__target")
    beside = ("move",)

    def handle_report(self, *, host: Host, report: contract.Report, now: datetime) -> bool | None:
        move = queries.move_of(report=report)
        return None if move is None else operations.hear(move=move, host=host, report=report, now=now)

    def send(self, *, job: Job, now: datetime) -> kinds.Outcome:
        return dispatch.send(job=job, now=now)

    def sweep(self, *, now: datetime) -> int:
        return operations.sweep(now=now)

    def why_too_late(self, *, job: Job) -> str:
        return queries.why_too_late(job=job)

    def cancel_waiting(self, *, job: Job, actor: User, now: datetime) -> bool:
        return operations.cancel_waiting(job=job, actor=actor, now=now)

    def note_cancel(self, *, job: Job) -> None:
        MoveSide.objects.filter(move__job=job).update(rung_at=None)

    def deadline_seconds(self, *, job: Job) -> int:
        return job.move.deadline_seconds

    def on_the_way(self, *, host: Host) -> Collection[UUID]:
        moving = Job.objects.filter(kind=Job.Kind.MIGRATE, status__in=Job.OPEN)
        ends_here = Q(move__source=host) | Q(move__target=host)
        return set(moving.filter(ends_here).values_list("machine_id", flat=True))

    def disks_held(self, *, host_ids: Collection[UUID]) -> Iterable[tuple[UUID, UUID]]:
        return queries.disks_held(host_ids=host_ids)


def _unsettled() -> Exists:
    """Migrations that have not ended, or whose source still keeps the disks that were copied."""
    is_keeping = Q(verdict=Move.Verdict.MOVED, discarded_at=None) & ~Q(copied=[])
    return Exists(Move.objects.filter(~Q(phase=Move.Phase.ENDED) | is_keeping, job=OuterRef("pk")))


def register() -> None:
    """Register the rules of MIGRATE, and keep jobs of unsettled migrations."""
    kinds.register(Job.Kind.MIGRATE, MigrationKind())
    kinds.keep(_unsettled)

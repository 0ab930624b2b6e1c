"""Query migrations, for other apps."""

from collections.abc import Collection, Iterator
from uuid import UUID

from django.db.models import Q

from webxen.core.messages import Message
from webxen.jobs.models import Job
from webxen.jobs.reports import read_id
from webxen.migration.models import Move
from worker import contract


def moved_from(*, machine_id: UUID) -> str:
    """Name of the host a machine was on before its last migration; "" if it never migrated."""
    moved = Move.objects.filter(job__machine_id=machine_id, verdict=Move.Verdict.MOVED)
    return moved.order_by("-job__created_at").values_list("source__name", flat=True).first() or ""


def move_of(*, report: contract.Report) -> Move | None:
    """The migration of a report, by its own id or by that of a side's clean-up; None if there is none."""
    job_id = read_id(report.job_id)
    if job_id is None:
        return None
    moves = Move.objects.select_related("job__machine", "job__requested_by", "source", "target")
    return moves.filter(Q(job_id=job_id) | Q(sides__cleaning_job=job_id)).distinct().first()


def why_too_late(*, job: Job) -> str:
    """Return why a migration cannot be cancelled any more, or ""."""
    move = job.move
    if move.phase in (Move.Phase.SETTLING, Move.Phase.UNKNOWN, Move.Phase.ENDED):
        return Message("MOVE_OVER")
    if any(side.facts.get("go_passed") for side in move.sides.all()):
        return Message("SWITCH_OVER_BEGUN", host=move.target)
    return ""


def disks_held(*, host_ids: Collection[UUID]) -> Iterator[tuple[UUID, UUID]]:
    """Yield (disk id, host id) for disks being copied to one of these hosts, and those one still keeps."""
    is_coming = Q(target_id__in=host_ids) & ~Q(phase=Move.Phase.ENDED)
    is_kept = Q(
        source_id__in=host_ids,
        phase=Move.Phase.ENDED,
        verdict=Move.Verdict.MOVED,
        discarded_at=None,
    )
    moves = Move.objects.filter(is_coming | is_kept, method=Move.Method.COLD)
    for move in moves.only("copied", "phase", "source_id", "target_id"):
        place = move.source_id if move.phase == Move.Phase.ENDED else move.target_id
        for disk in move.copied:
            yield UUID(disk), place

"""Disks that the source of a cold migration keeps until the machine has booted on the target.

Decides when they are deleted. The order names the disks; the host refuses if it has the machine again or
never handed it over. The migration itself is in `operations`.
"""

from datetime import datetime
from uuid import UUID

from django.db import transaction

from webxen.accounts.models import User
from webxen.core.errors import ForbiddenError, NotFoundError
from webxen.core.messages import Message, tell_of
from webxen.inventory import restores
from webxen.jobs import history, opening, queries, rounds
from webxen.jobs.models import Job
from webxen.jobs.reports import SanitizedReport
from webxen.machines.models import Machine
from webxen.migration import candidates
from webxen.migration.finalize import MOST_REFUSALS
from webxen.migration.models import Move, MoveSide
from worker import contract

Cleaning = MoveSide.Cleaning
#: a start that reached this step has booted the machine from its new disks
BOOTED = "LOGIN"
BOOTS = tuple(verb.kind for verb in contract.ACTIONS.values() if verb.boots)


@transaction.atomic
def let_go(*, user: User, job_id: UUID, now: datetime) -> Job:
    """Delete the copied disks on the source without waiting for a boot; for staff. Return the job.

    Raises NotFoundError, ForbiddenError, RestoredError, ActionRefusedError.
    """
    job = queries.get_visible(user=user, id=job_id)
    if job.kind != Job.Kind.MIGRATE:
        raise NotFoundError
    if not user.is_staff:
        raise ForbiddenError(Message("ONLY_STAFF_DELETES_OLD_DISKS"))
    restores.refuse_while_held()
    move = Move.objects.select_for_update().select_related("source").get(job=job)
    if not move.is_keeping:
        raise opening.ActionRefusedError(Message("NO_OLD_DISKS"))
    MoveSide.objects.filter(move=move, side=MoveSide.Side.SOURCE).update(refusals=0)
    _ask(move, Message("EVENT_BY", name=user.username), now)
    history.record(
        job=job, action="DISKS_LET_GO", now=now, actor=user, detail=Message("EVENT_ON_HOST", host=move.source)
    )
    job.refresh_from_db()
    return job


def let_go_what_booted(*, now: datetime) -> int:
    """Periodic work: delete disks whose machine has booted from its copy or is deleted. Return how many."""
    kept = [move for move in candidates.kept_moves() if move.discard_asked_at is None]
    return rounds.each(
        "let disks go", kept, lambda move: _let_go(move, now), now=now, about=lambda move: str(move.pk)
    )


@transaction.atomic
def _let_go(move: Move, now: datetime) -> bool:
    why = _why_not_needed(move)
    return bool(why) and _ask(move, why, now)


def _why_not_needed(move: Move) -> str:
    machine = move.job.machine
    if machine.state == Machine.State.DELETED:
        return Message("WHY_MACHINE_DELETED")
    target = MoveSide.objects.get(move=move, side=MoveSide.Side.TARGET)
    starts = Job.objects.filter(
        kind__in=BOOTS,
        machine=machine,
        host=move.target,
        status=Job.Status.SUCCEEDED,
        step=BOOTED,
        created_at__gte=move.job.created_at,
    )
    return Message("WHY_BOOTED_FROM_COPY") if target.facts.get("booted") or starts.exists() else ""


def _ask(move: Move, why: str, now: datetime) -> bool:
    """Order the source to delete the disks, unless another answer of it is outstanding."""
    side = MoveSide.objects.select_for_update().get(move=move, side=MoveSide.Side.SOURCE)
    if side.cleaning == Cleaning.ASKED or side.refusals >= MOST_REFUSALS:
        return False
    Move.objects.filter(pk=move.pk).update(discard_asked_at=now)
    job_id = contract.discard_job_id(str(move.pk), history.count(job=move.job, event="LETS_GO"))
    MoveSide.objects.filter(id=side.id).update(
        cleaning=Cleaning.ASKED, cleaning_message="", cleaning_job=job_id, rung_at=None
    )
    history.note(job=move.job, event="LETS_GO", now=now, message=tell_of(str(move.source), why))
    opening.send_once_committed(move.job, now)
    return True


def note_answer(*, move: Move, news: SanitizedReport, now: datetime) -> None:
    """Record whether the source deleted the disks; after a refusal they stay until requested again."""
    asked = Move.objects.filter(pk=move.pk, discarded_at=None).exclude(discard_asked_at=None)
    if news.event == "SUCCEEDED":
        asked.update(discarded_at=now)
    else:
        asked.update(discard_asked_at=None)

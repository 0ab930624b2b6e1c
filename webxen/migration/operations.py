"""Migrate a machine to another host: one job, two hosts, and an outcome derived from facts of both.

Writes Move and MoveSide, except the phase (`phases`). `verdict` has the table of outcomes, `precheck` the
checks before; `dispatch` sends orders after the transaction that recorded them. The target comes first: it
checks, listens and reports its port. Then the source sends. Once both have ended, or one of them cannot be
waited for, `finalize` ends the migration.
"""

import logging
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from webxen.accounts.models import User
from webxen.core.errors import ForbiddenError, NotFoundError
from webxen.core.messages import Message, tell_of
from webxen.inventory import operations as inventory
from webxen.inventory import queries as hosts
from webxen.inventory.models import Host
from webxen.jobs import dispatch, history, opening, promises, queries, rounds, settlement, status
from webxen.jobs.models import Job
from webxen.jobs.placing import NoRoomError
from webxen.jobs.reports import SanitizedReport, read, read_facts
from webxen.machines import lifecycle
from webxen.machines import queries as machine_queries
from webxen.machines.models import Machine
from webxen.migration import candidates, finalize, kept_disks, phases, target_choice
from webxen.migration import dispatch as sending
from webxen.migration.evidence import Sides, heard_for, sides_of
from webxen.migration.models import Move, MoveSide
from webxen.migration.precheck import Fit
from webxen.migration.verdict import Verdict
from worker import contract

log = logging.getLogger(__name__)
#: counters of a migration, as the hosts report them
COUNTS = ("bytes_sent", "total_mib", "memory_mib", "rate_mib_s", "passes", "blackout_ms")
Phase, Cleaning = Move.Phase, MoveSide.Cleaning

#: how long the other side is waited for after one side has ended or become silent
TIMEOUT = timedelta(seconds=30)
#: how long a target that does not begin is waited for
TARGET_UNANSWERED = timedelta(seconds=120)
GRACE = timedelta(seconds=60)


# --- asking ----------------------------------------------------------------------------------------


def migrate_machine(
    *,
    user: User,
    machine_id: UUID,
    host_name: str | None,
    method: str = "AUTO",
    one_way_is_fine: bool = False,
    rate_mib_s: int | None = None,
    may_shut_down: bool = False,
    now: datetime,
) -> Job:
    """Migrate a machine to the named host, or to one chosen by placement; return the job.

    It is shut down only for the method COLD or with `may_shut_down`. Raises NotFoundError, ForbiddenError,
    JobOpenError, ActionRefusedError, InvalidError, NoRoomError, RestoredError.
    """
    machine = machine_queries.get_visible(user=user, id=machine_id)
    if not user.is_staff:
        raise ForbiddenError(Message("ONLY_STAFF_MOVES"))
    wish = target_choice.Wish(host_name, method, one_way_is_fine, rate_mib_s, may_shut_down)
    return _migrate(machine, wish, user, "", now)


def migrate_by_policy(*, policy: str, machine: Machine, host_name: str, now: datetime) -> Job:
    """Migrate a running machine to this host for a policy, only if it can migrate back. Raises as above."""
    return _migrate(machine, target_choice.Wish(host_name), None, policy, now)


@transaction.atomic
def _migrate(
    machine: Machine, wish: target_choice.Wish, user: User | None, policy: str, now: datetime
) -> Job:
    if (other := queries.open_job_of(machine_id=machine.id)) is not None:
        raise opening.job_in_the_way(machine, other)
    if why := lifecycle.allowed_actions(machine=machine, open_job=None, user=user)["migrate"]:
        raise opening.not_possible(machine, Job.Kind.MIGRATE, why)
    source = machine.host
    assert source is not None  # noqa: S101 a running machine has a host
    fit = target_choice.find_fit(machine=machine, wish=wish, now=now)
    target = hosts.host_named(name=fit.host)
    if target is None or not inventory.reserve_host_memory(
        host_id=target.id, memory_mib=machine.memory_mib, now=now
    ):
        raise NoRoomError(Message("MEMORY_JUST_TAKEN", host=fit.host))
    promises.promise_copies(machine=machine, target=target, copied=fit.copied, now=now)
    job = opening.open_job(machine, Job.Kind.MIGRATE, Job.Status.QUEUED, user, now, policy=policy)
    opening.lift_fence(job)
    rate = settings.WEBXEN_MOVE_RATE_MIB_S if wish.rate_mib_s is None else wish.rate_mib_s
    method = fit.method if wish.method == "AUTO" else wish.method
    move = _write_down(job, source, target, fit, method, rate)
    history.note(
        job=job,
        event="PLANNED",
        now=now,
        message=Message("EVENT_ROUTE_METHOD", source=source, target=target, method=move.method),
    )
    _begin(move, now)
    job.refresh_from_db()
    return job


def _write_down(job: Job, source: Host, target: Host, fit: Fit, method: str, rate_mib_s: int) -> Move:
    is_cold = method == Move.Method.COLD
    copied = [disk for disk in job.machine.disks.all() if str(disk.id) in fit.copied]
    size_mib = 1024 * sum(disk.size_gib for disk in copied)
    move = Move.objects.create(
        job=job,
        source=source,
        target=target,
        method=method,
        rate_mib_s=rate_mib_s,
        deadline_seconds=candidates.cold_deadline_seconds(size_mib, rate_mib_s)
        if is_cold
        else candidates.deadline_seconds(job.machine.memory_mib),
        copied=[str(disk.id) for disk in copied],
        restarts=fit.needs_shutdown,
    )
    for side, host in ((MoveSide.Side.SOURCE, source), (MoveSide.Side.TARGET, target)):
        MoveSide.objects.create(move=move, side=side, host=host)
    return move


@transaction.atomic
def cancel_waiting(*, job: Job, actor: User, now: datetime) -> bool:
    """Cancel a migration that no host was asked about; return False if one was."""
    move = Move.objects.select_for_update().get(job=job)
    if move.phase != Phase.WAITING:
        return False
    history.note(job=job, event="CANCEL_ASKED", now=now, message=Message("EVENT_BY", name=actor.username))
    history.record(job=job, action=f"CANCEL_{job.kind}", now=now, actor=actor)
    Move.objects.filter(pk=move.pk).update(verdict=Move.Verdict.STAYED, why=Message("CANCELLED_BEFORE_START"))
    finalize.end(move, Verdict.STAYED, now, is_taken_back=True)
    job.refresh_from_db()
    return True


@transaction.atomic
def recheck(*, user: User, job_id: UUID, now: datetime) -> Job:
    """Ask both hosts of an unsettled migration again and apply the outcome table; for staff. Return the job.

    Raises NotFoundError, ForbiddenError.
    """
    job = queries.get_visible(user=user, id=job_id)
    if job.kind != Job.Kind.MIGRATE:
        raise NotFoundError
    if not user.is_staff:
        raise ForbiddenError(Message("ONLY_STAFF_RESOLVES_MOVES"))
    move = Move.objects.select_for_update().get(job=job)
    MoveSide.objects.filter(move=move).update(rung_at=None)
    history.note(job=job, event="LOOK_AGAIN", now=now, message=Message("EVENT_BY", name=user.username))
    history.record(job=job, action="LOOK_AGAIN", now=now, actor=user)
    if move.phase == Phase.UNKNOWN:
        finalize.judge(move, now, is_asked=True)
    opening.send_once_committed(job, now)
    job.refresh_from_db()
    return job


# --- beginning -------------------------------------------------------------------------------------


@transaction.atomic
def _begin(move: Move, now: datetime) -> bool:
    """Send the target its order if both hosts are free; otherwise record what the migration waits for."""
    # serialize the migrations of both hosts, so that the limits hold
    list(Host.objects.select_for_update().filter(id__in=(move.source_id, move.target_id)).order_by("id"))
    if why := candidates.why_wait(move=move, now=now):
        Job.objects.filter(id=move.job_id).exclude(waiting_for=why).update(waiting_for=why)
        return False
    if not phases.change(move_id=move.pk, event=phases.Event.BEGUN, begun_at=now):
        return False
    Job.objects.filter(id=move.job_id).update(waiting_for="")
    MoveSide.objects.filter(move=move, side=MoveSide.Side.TARGET).update(ordered_at=now)
    opening.send_once_committed(move.job, now)
    settlement.tell(job=move.job)
    return True


# --- hearing ---------------------------------------------------------------------------------------


@transaction.atomic
def hear(*, move: Move, host: Host, report: contract.Report, now: datetime) -> bool:
    """Apply a host's report about its side; return True if it changed something."""
    news = read(report)
    Move.objects.select_for_update().get(pk=move.pk)
    move.refresh_from_db()
    side = MoveSide.objects.select_related("host", "move__job").filter(move=move, host=host).first()
    if side is None or not hosts.is_accepted(host=host) or news.machine_id != move.job.machine_id:
        log.warning("%s reports on move %s, which is not its own: dropped", host.name, move.pk)
        return False
    if report.move is not None and report.move.side != side.side:
        log.warning("%s speaks for the other side of move %s: dropped", host.name, move.pk)
        return False
    if report.job_id == str(move.pk):
        has_moved = _hear_side(move, side, news, report.move, now)
    elif report.job_id == str(side.cleaning_job):
        has_moved = _hear_cleaning(side, news, report.move, now)
    else:
        return False
    if has_moved:
        _advance(move, now)
        settlement.tell(job=move.job)
    return has_moved


def _hear_side(
    move: Move, side: MoveSide, news: SanitizedReport, facts: contract.MoveFacts | None, now: datetime
) -> bool:
    job = move.job
    if news.event == "CANCEL_HEARD":
        if job.status not in Job.OPEN:
            return False
        Job.objects.filter(id=job.id).update(waiting_for=news.error_message)
        history.note_news(job=job, news=news, now=now)
        return True
    fields: dict[str, Any] = {"heard_at": now, **_facts(side, facts, now)}
    still = Q(end="")
    if news.is_end:
        fields |= {"end": news.event, "ended_at": now, **news.error_columns()}
    else:
        still &= Q(sequence__lt=news.sequence)
        fields["sequence"] = news.sequence
    if not MoveSide.objects.filter(still, id=side.id).update(**fields):
        return False
    if side.side == MoveSide.Side.TARGET:
        _note_boot(side, news)
    _show(job, side, news, now)
    return True


def _note_boot(home: MoveSide, news: SanitizedReport) -> None:
    """Store the configuration with which the target booted the machine."""
    if news.event == "SUCCEEDED" and news.config:
        Machine.objects.filter(id=home.move.job.machine_id).update(config=news.config)


def _facts(side: MoveSide, facts: contract.MoveFacts | None, now: datetime) -> dict[str, Any]:
    """Merge new facts: what a relay once recorded stays true."""
    if facts is None:
        return {}
    told = read_facts(facts)
    for word in ("go_passed", "closed"):
        told[word] = bool(told[word] or side.facts.get(word))
    return {"facts": told, "facts_at": now}


def _show(job: Job, side: MoveSide, news: SanitizedReport, now: datetime) -> None:
    """Copy the progress to the job: the source's, or the target's step while it prepares."""
    fields: dict[str, Any] = {"heard_at": now}
    is_source = side.side == MoveSide.Side.SOURCE
    if not news.is_end:
        fields |= {"step": news.step} | ({"progress": max(news.progress, job.progress)} if is_source else {})
    Job.objects.filter(id=job.id, started_at=None).update(started_at=now)
    status.change(job_id=job.id, event=status.Event.STARTED, now=now)
    Job.objects.filter(id=job.id).update(**fields)
    if news.event != "STEP" or news.step != job.step:
        said = _tell(side, news)
        history.note(job=job, event=f"{side.side}_{news.event}"[:16], step=news.step, now=now, message=said)


def _tell(side: MoveSide, news: SanitizedReport) -> Message:
    if news.error_message:
        return tell_of(str(side.host), news.error_message)
    return Message("EVENT_OF_HOST", host=side.host)


def _hear_cleaning(
    side: MoveSide, news: SanitizedReport, facts: contract.MoveFacts | None, now: datetime
) -> bool:
    fields: dict[str, Any] = {"heard_at": now, **_facts(side, facts, now)}
    if facts is not None:
        # a host that cleans up counts from zero again: keep the counters of the copy
        fields["facts"] |= {word: side.facts[word] for word in COUNTS if word in side.facts}
    if news.event == "SUCCEEDED":
        fields |= {"cleaning": Cleaning.DONE, "cleaning_message": ""}
    elif news.is_end:
        fields |= {
            "cleaning": Cleaning.REFUSED,
            "cleaning_message": news.error_message,
            "refusals": side.refusals + 1,
        }
    still = MoveSide.objects.filter(id=side.id, cleaning=Cleaning.ASKED)
    if not still.update(**fields):
        return False
    if side.side == (MoveSide.Side.TARGET if side.move.verdict == Verdict.MOVED else MoveSide.Side.SOURCE):
        _note_boot(side, news)
    if news.is_end:
        kept_disks.note_answer(move=side.move, news=news, now=now)
        said = _tell(side, news)
        history.note(job=side.move.job, event=f"CLEANED_{news.event}"[:16], now=now, message=said)
    return True


# --- going on --------------------------------------------------------------------------------------


def _advance(move: Move, now: datetime) -> None:
    """After a report: send the next order, apply the outcome table, or settle."""
    move.refresh_from_db()
    sides = sides_of(move)
    if move.phase == Phase.PREPARING and _is_target_open(move, sides.target):
        phases.change(move_id=move.pk, event=phases.Event.TARGET_READY)
        MoveSide.objects.filter(id=sides.source.id).update(ordered_at=now)
        opening.send_once_committed(move.job, now)
    elif move.phase == Phase.MOVING and sending.waits_for_nobody(sides.source, now) and not sides.target.end:
        MoveSide.objects.filter(id=sides.target.id).update(rung_at=None)
        opening.send_once_committed(move.job, now)
    elif (move.phase in Move.ACTIVE and _are_over(sides)) or move.phase == Phase.UNKNOWN:
        finalize.judge(move, now)
    elif move.phase in (Phase.SETTLING, Phase.ENDED):
        finalize.settle(move, sides, now)


def _is_target_open(move: Move, target: MoveSide) -> bool:
    return bool(target.facts.get("port")) and not target.end and move.job.cancel_asked_at is None


def _are_over(sides: Sides) -> bool:
    """Whether both sides have ended; a side without an order counts as ended."""
    return all(bool(side.end) or side.ordered_at is None for side in sides)


# --- the clock's share -----------------------------------------------------------------------------


def sweep(*, now: datetime) -> int:
    """Periodic work: begin waiting migrations, judge overdue ones, send orders again. Return how many."""
    waiting = _moves(Move.objects.filter(phase=Phase.WAITING).order_by("job__created_at"))
    under_way = _moves(Move.objects.filter(phase__in=(*Move.ACTIVE, Phase.SETTLING, Phase.UNKNOWN)))
    return (
        rounds.each("begin move", waiting, lambda move: _begin(move, now), now=now, about=_id)
        + rounds.each("look after move", under_way, lambda move: _look_after(move, now), now=now, about=_id)
        + kept_disks.let_go_what_booted(now=now)
        + _ring_again(now)
    )


def _id(move: Move) -> str:
    return str(move.pk)


def _moves(found: Any) -> list[Move]:
    return list(found.select_related("job__machine", "job__requested_by", "source", "target"))


@transaction.atomic
def _look_after(move: Move, now: datetime) -> bool:
    Move.objects.select_for_update().get(pk=move.pk)
    move.refresh_from_db()
    before = (move.phase, move.why)
    if move.phase == Phase.UNKNOWN or (move.phase in Move.ACTIVE and _is_overdue(move, now)):
        finalize.judge(move, now)
    elif move.phase == Phase.SETTLING:
        finalize.settle(move, sides_of(move), now)
    move.refresh_from_db()
    return (move.phase, move.why) != before


def _is_overdue(move: Move, now: datetime) -> bool:
    """Whether waiting for the side that has not ended is pointless."""
    sides = sides_of(move)
    owing = [side for side in sides if side.ordered_at is not None and not side.end]
    waited = heard_for(owing, move.begun_at or now, now)
    if waited > timedelta(seconds=move.deadline_seconds) + GRACE:
        return True
    if move.phase == Phase.PREPARING and sides.target.heard_at is None and waited > TARGET_UNANSWERED:
        return True
    ends = [side.ended_at for side in sides if side.ended_at is not None]
    if sides.target.facts.get("go_passed") and not hosts.is_silent(host=sides.target.host, now=now):
        # the target starts it, and reports when that is done
        ends = ends if move.method != Move.Method.COLD else []
    if ends and heard_for(owing, min(ends), now) > TIMEOUT:
        return True
    # if no host reports at all, the portal itself was suspended or its clock was set
    return hosts.is_any_heard(now=now) and any(hosts.is_silent(host=side.host, now=now) for side in owing)


def _ring_again(now: datetime) -> int:
    """Send orders again to sides that owe an answer to an order or to an outcome."""
    quiet = now - timedelta(seconds=settings.WEBXEN_RESEND_SECONDS)
    owed = Q(cleaning=Cleaning.ASKED) | Q(
        ordered_at__isnull=False, end="", move__phase__in=(*Move.ACTIVE, Phase.UNKNOWN)
    )
    unheard = (Q(rung_at=None) | Q(rung_at__lte=quiet)) & (Q(heard_at=None) | Q(heard_at__lte=quiet))
    due = MoveSide.objects.filter(owed & unheard).values_list("move_id", flat=True).distinct()
    return rounds.each("send move", due, lambda one: dispatch.send(job_id=one, now=now) == "SENT", now=now)

"""The end of a migration: apply the outcome table, tell the hosts, set the machine's host.

The job ends in the transaction that sets the host. A machine whose outcome is UNKNOWN is never changed.
"""

from datetime import datetime
from typing import Any

from webxen.core.messages import Message, tell_all
from webxen.inventory import operations as inventory
from webxen.inventory import queries as hosts
from webxen.jobs import history, ledger, opening, promises, settlement, status
from webxen.jobs.models import Job
from webxen.jobs.reports import INTERNAL_ERROR
from webxen.machines import lifecycle
from webxen.machines.models import Machine
from webxen.migration import evidence, phases
from webxen.migration.evidence import Sides, sides_of
from webxen.migration.models import Move, MoveSide
from webxen.migration.phases import Event
from webxen.migration.verdict import Copy, Look, Verdict
from webxen.quotas import operations as quotas
from worker import contract

Phase, Cleaning = Move.Phase, MoveSide.Cleaning
#: after this many refusals of the outcome, a migration waits for staff
MOST_REFUSALS = 3


def judge(move: Move, now: datetime, *, is_asked: bool = False) -> None:
    """Apply the outcome table: settle the migration, or record that the outcome is unknown and why."""
    sides = sides_of(move)
    decision, source, target = evidence.judge(sides, now=now)
    if decision.verdict != Verdict.UNKNOWN and not is_asked and _has_been_refused(sides):
        return
    if decision.verdict == Verdict.UNKNOWN:
        if (move.phase, move.why) == (Phase.UNKNOWN, decision.why):
            return
        told: dict[str, Any] = {"verdict": Move.Verdict.UNKNOWN, "why": decision.why}
        phases.change(move_id=move.pk, event=Event.NOT_KNOWN, **told)
        Job.objects.filter(id=move.job_id).update(waiting_for=decision.why)
        history.note(job=move.job, event="NOT_KNOWN", now=now, message=decision.why)
        _power(move.job.machine, Machine.Power.UNKNOWN, now)
        settlement.tell(job=move.job)
        return
    told = {"verdict": decision.verdict, "why": decision.why, "decided_at": now}
    phases.change(move_id=move.pk, event=Event.DECIDED, **told)
    history.note(job=move.job, event=decision.verdict, now=now, message=decision.why)
    for side, look in ((sides.source, source), (sides.target, target)):
        if _needs_cleaning(side, look, decision.verdict):
            _ask_to_clean(side)
    _hold_back_source(sides, target, decision.verdict)
    opening.send_once_committed(move.job, now)
    move.refresh_from_db()
    settle(move, sides_of(move), now)


def _has_been_refused(sides: Sides) -> bool:
    return any(side.refusals >= MOST_REFUSALS for side in sides)


def _ask_to_clean(side: MoveSide) -> None:
    at: contract.MoveSide = "SOURCE" if side.side == MoveSide.Side.SOURCE else "TARGET"
    job_id = contract.settle_job_id(str(side.move_id), at, side.refusals)
    MoveSide.objects.filter(id=side.id).update(
        cleaning=Cleaning.ASKED, cleaning_message="", cleaning_job=job_id, rung_at=None
    )


def _needs_cleaning(side: MoveSide, look: Look, verdict: Verdict) -> bool:
    """A side that ended according to the outcome, with nothing left over, needs no order."""
    if side.ordered_at is None:
        return False
    is_source = side.side == MoveSide.Side.SOURCE
    is_home = is_source == (verdict == Verdict.STAYED)
    if is_home and look.copy == Copy.NONE and not (is_source and side.move.restarts):
        return False  # it is off on this host: nothing to clean up
    if verdict == Verdict.STAYED:
        return True  # what was prepared for the migration is undone on both sides
    wanted = Copy.NONE if is_source else Copy.RUNS
    return side.end != "SUCCEEDED" or look.copy != wanted


def _hold_back_source(sides: Sides, target: Look, verdict: Verdict) -> None:
    """The source deletes what it has only once the target is known to run the machine."""
    if verdict == Verdict.MOVED and target.copy == Copy.STILL:
        MoveSide.objects.filter(id=sides.source.id).update(cleaning=Cleaning.NONE)


def settle(move: Move, sides: Sides, now: datetime) -> None:
    """End the job once the machine's host is clean, and the other host too or silent."""
    if any(side.cleaning == Cleaning.REFUSED for side in sides) and move.phase == Phase.SETTLING:
        MoveSide.objects.filter(move=move, cleaning=Cleaning.REFUSED).update(cleaning=Cleaning.NONE)
        phases.change(move_id=move.pk, event=Event.CONTRADICTED)
        move.refresh_from_db()
        judge(move, now)
        return
    has_moved = move.verdict == Move.Verdict.MOVED
    home = sides.target if has_moved else sides.source
    other = sides.other(home)
    if home.cleaning == Cleaning.ASKED or move.phase != Phase.SETTLING:
        return
    if has_moved and home.cleaning == Cleaning.DONE and _is_held_back(other, now):
        _ask_to_clean(other)
        opening.send_once_committed(move.job, now)
        return
    if other.cleaning == Cleaning.ASKED and not hosts.is_silent(host=other.host, now=now):
        return
    end(move, Verdict(move.verdict), now)


def _is_held_back(source: MoveSide, now: datetime) -> bool:
    """Whether the source was not told to clean up because the target did not run the machine yet."""
    if source.cleaning != Cleaning.NONE:
        return False
    return source.end != "SUCCEEDED" or bool(evidence.domains_of(source, now=now))


def end(move: Move, verdict: Verdict, now: datetime, *, is_taken_back: bool = False) -> None:
    """End the job and set the machine's host, in one transaction."""
    job, machine, sides = move.job, move.job.machine, sides_of(move)
    event = status.Event.SUCCEEDED
    error: dict[str, Any] = {}
    if verdict == Verdict.MOVED:
        gone = move.source_id
        Machine.objects.filter(id=machine.id).update(host=move.target)
    else:
        gone = move.target_id
        event = status.Event.CANCELLED
        if not is_taken_back and job.cancel_asked_at is None:
            event, error = _error_of(move, sides)
    progress = 100 if verdict == Verdict.MOVED else job.progress
    if not status.change(job_id=job.id, event=event, now=now, progress=progress, **error):
        return
    phases.change(move_id=move.pk, event=Event.CANCELLED if is_taken_back else Event.SETTLED)
    inventory.release_host_memory(host_id=gone, memory_mib=machine.memory_mib, now=now)
    promises.count(hosts=(move.source, move.target), now=now)
    job.refresh_from_db()
    machine.refresh_from_db()
    history.note(job=job, event=job.status, now=now, message=job.error_message or move.why)
    history.record(
        job=job,
        action=f"MIGRATE_{job.status}",
        now=now,
        detail=Message("EVENT_ROUTE", source=move.source, target=move.target),
    )
    source, target = evidence.looks(sides, now=now)
    if (source if verdict == Verdict.MOVED else target).copy == Copy.NONE:
        # observed a moment later anyway; now it can migrate back at once
        inventory.forget_domain(host_id=gone, machine_id=machine.id, now=now)
    if verdict == Verdict.MOVED and sides.target.error_message:
        Move.objects.filter(pk=move.pk).update(why=tell_all([move.why, sides.target.error_message]))
    _power(machine, _power_after(target if verdict == Verdict.MOVED else source), now)
    settlement.tell(job=job)
    lifecycle.tell(machine=machine)


def _error_of(move: Move, sides: Sides) -> tuple[status.Event, dict[str, Any]]:
    """Return how the job of a machine that stayed ends, with its error columns: a host's error if there is
    one.
    """
    failed = next((side for side in (sides.target, sides.source) if side.error_code), None)
    code, why = (failed.error_code, failed.error_message) if failed else ("MOVE_FAILED", "")
    return status.Event.ERROR if code == INTERNAL_ERROR else status.Event.FAILED, {
        "error_code": code,
        "error_message": tell_all(
            [Message("MACHINE_STAYED", name=move.job.machine.name, host=move.source), why or move.why]
        ),
        "error_reference": failed.error_reference if failed else "",
        "is_retryable": True,
    }


def _power_after(home: Look) -> str:
    if home.copy == Copy.NONE:
        return Machine.Power.OFF
    # settled: a paused machine was started, a running one runs
    return Machine.Power.UNKNOWN if home.copy == Copy.UNSEEN else Machine.Power.RUNNING


def _power(machine: Machine, power: str, now: datetime) -> None:
    if power == Machine.Power.UNKNOWN:
        lifecycle.lose_power(machines=[machine])
    else:
        Machine.objects.filter(id=machine.id).update(power=power, power_seen_at=now)
    if ledger.counts_as_running(power) is False:
        quotas.release_running(holder=machine.id, why=Message("WHY_OFF_AFTER_MOVE"), now=now)

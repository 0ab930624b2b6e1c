"""Many migrations as one: evacuate a host, undo an evacuation, balance a cluster.

A plan (`plans`) becomes an Evacuation, whose steps are carried out within the limits of each host and
continue after restarts. Single migrations are in migration.operations.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.db import transaction

from webxen.accounts.models import User
from webxen.core import audit, events
from webxen.core.errors import NotFoundError, UserError
from webxen.core.messages import Message
from webxen.fleet.models import Evacuation, EvacuationStep
from webxen.fleet.plans import Planned, plan_balanced, plan_drain
from webxen.inventory import operations as inventory
from webxen.inventory import queries as hosts
from webxen.inventory import restores
from webxen.inventory.models import Host
from webxen.jobs import opening, placing, rounds
from webxen.jobs.models import Job
from webxen.machines.models import Machine
from webxen.migration import candidates
from webxen.migration import operations as migration

Kind, Progress = Evacuation.Kind, EvacuationStep.Progress
OPEN_PROGRESS = (Progress.WAITING, Progress.MOVING)


class NothingToMoveError(UserError):
    """The plan contains no machine that could be migrated."""

    code = "NOTHING_TO_MOVE"


# --- beginning ---------------------------------------------------------------------------------------


@transaction.atomic
def drain_host(
    *,
    user: User,
    host_id: UUID,
    one_way_is_fine: bool = False,
    may_shut_down: bool = False,
    now: datetime,
) -> Evacuation:
    """Place no new machines on the host and migrate its machines away; a repeated call restarts with the
    rest.

    Raises NotFoundError.
    """
    host = hosts.get_visible_host(user=user, id=host_id)
    plan = plan_drain(
        user=user, host_id=host_id, one_way_is_fine=one_way_is_fine, may_shut_down=may_shut_down, now=now
    )
    inventory.drain_host(staff=user, host_id=host.id, now=now)
    _stop_open(host, now)
    return _begin(Kind.DRAIN, host, plan.steps, user, now, may_shut_down=may_shut_down)


@transaction.atomic
def activate_host(*, user: User, host_id: UUID, now: datetime) -> Host:
    """Allow machines on the host again and stop its evacuation; migrations in progress are finished.

    Raises NotFoundError.
    """
    host = hosts.get_visible_host(user=user, id=host_id)
    _stop_open(host, now)
    return inventory.activate_host(staff=user, host_id=host_id, now=now)


@transaction.atomic
def bring_back(*, user: User, host_id: UUID, now: datetime) -> Evacuation:
    """Allow machines on the host again, and migrate back those that were evacuated from it.

    Raises NotFoundError, NothingToMoveError.
    """
    host = hosts.get_visible_host(user=user, id=host_id)
    steps = came_from(host=host)
    if not steps:
        raise NothingToMoveError(Message("NOTHING_TO_BRING_BACK", host=host.name))
    activate_host(user=user, host_id=host_id, now=now)
    back = [
        Planned(step.machine, str(step.machine.host), host.name, "", "", step.expected_seconds, 0.0)
        for step in steps
    ]
    # machines that were shut down to leave may be shut down to return
    may = any(step.evacuation.may_shut_down for step in steps)
    return _begin(Kind.BRING_BACK, host, back, user, now, may_shut_down=may)


def came_from(*, host: Host) -> list[EvacuationStep]:
    """The last evacuation step of each machine that left this host and is still elsewhere."""
    moved = EvacuationStep.objects.filter(
        evacuation__kind=Kind.DRAIN, source=host, progress=Progress.MOVED, machine__state=Machine.State.READY
    )
    latest: dict[UUID, EvacuationStep] = {}
    for step in moved.select_related("machine__host", "evacuation").order_by("-id"):
        latest.setdefault(step.machine_id, step)
    return [step for step in latest.values() if step.machine.host_id not in (None, host.id)]


@transaction.atomic
def balance(*, user: User, machine_ids: Sequence[UUID], now: datetime) -> Evacuation:
    """Carry out the approved proposals; those no longer proposed are ignored. Raises NotFoundError,
    NothingToMoveError.
    """
    wanted = set(machine_ids)
    steps = [step for step in plan_balanced(user=user, now=now) if step.machine.id in wanted]
    if not steps:
        raise NothingToMoveError(Message("PROPOSALS_OUTDATED"))
    return _begin(Kind.BALANCE, None, steps, user, now)


@transaction.atomic
def balance_by_policy(*, steps: Sequence[Planned], now: datetime) -> Evacuation:
    """Start these migrations now, without a user. One that cannot begin at once is marked as failed."""
    evacuation = _begin(Kind.BALANCE, None, steps, None, now)
    for step in evacuation.steps.filter(progress=Progress.WAITING):
        _note(step, Progress.FAILED, step.why or Message("COULD_NOT_START"))
    _work_off(evacuation, now)
    evacuation.refresh_from_db()
    return evacuation


def _stop_open(host: Host, now: datetime) -> None:
    Evacuation.objects.filter(host=host, finished_at=None).update(finished_at=now, is_stopped=True)


def _begin(
    kind: str,
    host: Host | None,
    steps: Sequence[Planned],
    user: User | None,
    now: datetime,
    *,
    may_shut_down: bool = False,
) -> Evacuation:
    evacuation = Evacuation.objects.create(
        kind=kind, host=host, asked_by=user, created_at=now, may_shut_down=may_shut_down
    )
    by_name = {one.name: one for one in hosts.accepted_hosts()}
    for step in steps:
        EvacuationStep.objects.create(
            evacuation=evacuation,
            machine=step.machine,
            source=by_name[step.source],
            target=by_name[step.target] if step.target else None,
            progress=Progress.WAITING if step.target else Progress.CANNOT,
            why=step.why,
            expected_seconds=round(step.expected_seconds),
        )
    movable = sum(step.target is not None for step in steps)
    audit.record(
        actor=user,
        policy="" if user else kind,
        action=f"{kind}_BEGUN",
        target_kind="host",
        target_id=str(host.id) if host else "",
        target_name=host.name if host else "",
        detail=Message("STEPS_OF_MACHINES", done=movable, all=len(steps)),
        now=now,
    )
    _work_off(evacuation, now)
    evacuation.refresh_from_db()
    return evacuation


# --- working off -------------------------------------------------------------------------------------


def advance(*, now: datetime) -> int:
    """Start the next migrations of every open evacuation, as far as hosts are free; return how many."""
    if restores.is_held():
        return 0
    ended = EvacuationStep.objects.filter(progress=Progress.MOVING).exclude(job__status__in=Job.OPEN)
    for step in ended.select_related("job"):
        _close(step)  # also if the evacuation was stopped meanwhile
    open_ones = Evacuation.objects.filter(finished_at=None).select_related("host", "asked_by")
    return rounds.each(
        "evacuation", open_ones, lambda one: _work_off_once(one, now), now=now, about=lambda one: str(one.id)
    )


@transaction.atomic
def _work_off_once(evacuation: Evacuation, now: datetime) -> int:
    # two concurrent sweeps would order twice, and the second would mark the step as failed
    Evacuation.objects.select_for_update().get(id=evacuation.id)
    return _work_off(evacuation, now)


def _work_off(evacuation: Evacuation, now: datetime) -> int:
    steps = list(evacuation.steps.select_related("machine__host", "source", "target", "job"))
    begun = sum(_begin_step(evacuation, step, now) for step in steps if step.progress == Progress.WAITING)
    if not evacuation.steps.filter(progress__in=OPEN_PROGRESS).exists():
        Evacuation.objects.filter(id=evacuation.id, finished_at=None).update(finished_at=now)
    if evacuation.host is not None:
        events.publish(kind="host", id=str(evacuation.host.id))
    return begun


def _close(step: EvacuationStep) -> None:
    job = step.job
    if job is None:
        return
    if job.status == Job.Status.SUCCEEDED:
        _note(step, Progress.MOVED, "")
    else:
        _note(step, Progress.FAILED, job.error_message or job.status)


def _note(step: EvacuationStep, progress: str, why: str, job: Job | None = None) -> None:
    step.progress, step.why = progress, why
    fields = {"progress": progress, "why": why} | ({"job": job} if job else {})
    EvacuationStep.objects.filter(id=step.id).update(**fields)


def _begin_step(evacuation: Evacuation, step: EvacuationStep, now: datetime) -> bool:
    """Start one migration if both hosts are free; return whether it was started."""
    machine = step.machine
    if machine.state != Machine.State.READY or machine.host_id != step.source_id:
        _note(step, Progress.GONE, Message("NO_LONGER_HERE"))
        return False
    out, into = candidates.busy_hosts()
    limit = settings.WEBXEN_MOVES_PER_HOST
    target = step.target
    if target is None:
        return False
    if out.get(step.source.name, 0) >= limit or into.get(target.name, 0) >= limit:
        return False
    try:
        with transaction.atomic():
            job = _order(evacuation, machine, target, now)
    except opening.JobOpenError as busy:
        _note(step, Progress.WAITING, busy.message)
        return False
    except UserError as refused:
        _note(step, Progress.FAILED, refused.message)
        return False
    EvacuationStep.objects.filter(id=step.id).update(target=job.move.target)
    _note(step, Progress.MOVING, "", job)
    return True


def _order(evacuation: Evacuation, machine: Machine, target: Host, now: datetime) -> Job:
    """Migrate to the planned host, or where there is room by now; staff has seen one-way migrations in the
    plan.
    """
    user = evacuation.asked_by
    if user is None:
        # nobody has seen this plan: only this host, and only with a way back
        return migration.migrate_by_policy(
            policy=evacuation.kind, machine=machine, host_name=target.name, now=now
        )
    try:
        with transaction.atomic():
            return migration.migrate_machine(
                user=user,
                machine_id=machine.id,
                host_name=target.name,
                one_way_is_fine=True,
                may_shut_down=evacuation.may_shut_down,
                now=now,
            )
    except placing.NoRoomError:
        may = evacuation.may_shut_down
        return migration.migrate_machine(
            user=user, machine_id=machine.id, host_name=None, may_shut_down=may, now=now
        )


# --- looking -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Standing:
    """Progress of an evacuation."""

    evacuation: Evacuation
    steps: list[EvacuationStep]
    #: share of its machines' memory that has left
    percent: int
    moved: int
    #: number of steps that are still open
    left: int
    #: number of machines that have not left, yet or at all
    machines_left: int

    @property
    def status(self) -> str:
        """RUNNING, SUCCEEDED, INCOMPLETE or STOPPED."""
        if self.evacuation.finished_at is None:
            return "RUNNING"
        if self.evacuation.is_stopped:
            return "STOPPED"
        return "INCOMPLETE" if self.machines_left else "SUCCEEDED"


def get_visible(*, user: User, id: UUID) -> Evacuation:
    """Return an evacuation, for staff. Raises NotFoundError."""
    found = Evacuation.objects.filter(id=id).first() if user.is_staff else None
    if found is None:
        raise NotFoundError
    return found


def standing(*, user: User, host_id: UUID) -> Standing | None:
    """Return the progress of the host's latest evacuation; None if there is none or the user is not staff."""
    if not user.is_staff:
        return None
    found = Evacuation.objects.filter(host_id=host_id).select_related("asked_by").first()
    return stand_of(found) if found is not None else None


def stand_of(evacuation: Evacuation) -> Standing:
    """Return the progress of an evacuation."""
    steps = list(evacuation.steps.select_related("machine", "source", "target", "job"))
    done = 0.0
    for step in steps:
        if step.progress in (Progress.MOVED, Progress.GONE):
            done += step.machine.memory_mib
        elif step.progress == Progress.MOVING and step.job is not None:
            done += step.machine.memory_mib * step.job.progress / 100
    total = sum(step.machine.memory_mib for step in steps)
    machines_left = sum(step.progress not in (Progress.MOVED, Progress.GONE) for step in steps)
    return Standing(
        evacuation=evacuation,
        steps=steps,
        # 100 only when no machine is left
        percent=min(int(100 * done / total), 99) if machines_left else 100,
        moved=sum(step.progress == Progress.MOVED for step in steps),
        left=sum(step.progress in OPEN_PROGRESS for step in steps),
        machines_left=machines_left,
    )

"""Operations on quotas: reserve, commit, release, change, hold and release running, limits, settle.

Knows numbers and holders' ids, not machines. Each is a conditional UPDATE with a ledger entry; database
constraints refuse errors. Only staff corrects differences.
"""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import F, Value
from django.db.models.functions import Greatest

from webxen.accounts.models import Project, User
from webxen.core import audit
from webxen.core.errors import ForbiddenError, UserError
from webxen.core.messages import Message
from webxen.quotas import ledger, queries
from webxen.quotas.drift import Drift, Held, What
from webxen.quotas.ledger import Delta
from webxen.quotas.models import RESOURCES, Quota, QuotaEntry, Reservation
from webxen.quotas.shortage import (
    UNLIMITED,
    Figures,
    Running,
    RunningLimit,
    count_shortage,
    describe_shortage,
    describe_whole,
)

Kind = QuotaEntry.Kind
SETTLED = "staff settled a difference"


class QuotaExceededError(UserError):
    """The project's quota is too small for this; the message says by how much."""

    code = "QUOTA_EXCEEDED"


class NothingHeldError(UserError):
    """A machine without a reservation cannot run or grow."""

    code = "NO_RESERVATION"


# --- what a machine holds ----------------------------------------------------------------------


@transaction.atomic
def reserve(
    *,
    project: Project,
    holder: UUID,
    vcpus: int,
    memory_mib: int,
    disk_gib: int,
    is_running: bool = True,
    is_observed: bool = False,
    why: str = "",
    now: datetime,
) -> Reservation:
    """Reserve a machine's resources in its project's quota. Raises QuotaExceededError with the shortage.

    A new machine runs, so its vCPUs and memory also count as running. An existing machine (`is_observed`) is
    counted regardless of the limits, and the excess is recorded as overdraft.
    """
    delta = ledger.share(vcpus=vcpus, memory_mib=memory_mib, disk_gib=disk_gib, is_running=is_running)
    quota = Quota.objects.filter(project=project)
    if not ledger.move(quotas=quota, delta=delta, is_forced=is_observed):
        raise _exceeded(project, delta)
    reservation = Reservation.objects.create(
        quota=Quota.objects.get(project=project),
        holder=holder,
        vcpus=vcpus,
        memory_mib=memory_mib,
        disk_gib=disk_gib,
        is_running=is_running,
        created_at=now,
    )
    _note(reservation, Kind.RESERVE, delta, why, now)
    return reservation


@transaction.atomic
def commit(*, holder: UUID, why: str = "", now: datetime) -> bool:
    """Mark the reservation of a created machine as committed; return False if there is none to commit."""
    held = ledger.lock(holder=holder)
    if held is None or held.status != Reservation.Status.RESERVED:
        return False
    _set(held, status=Reservation.Status.COMMITTED)
    _note(held, Kind.COMMIT, Delta(), why, now)
    return True


@transaction.atomic
def release(*, holder: UUID, why: str = "", now: datetime) -> bool:
    """Release the holder's reservation, running or not. Return True the first time, False afterwards."""
    held = ledger.lock(holder=holder)
    if held is None:
        return False
    delta = -ledger.share_of(held)
    _set(held, status=Reservation.Status.RELEASED, released_at=now, is_running=False)
    ledger.move(quotas=_quota_of(held), delta=delta)
    _note(held, Kind.RELEASE, delta, why, now)
    return True


@transaction.atomic
def hold_running(*, holder: UUID, is_observed: bool = False, why: str = "", now: datetime) -> bool:
    """Count the machine's vCPUs and memory as running; return False if they already are.

    Raises NothingHeldError, or QuotaExceededError with the shortage. With `is_observed` the machine runs
    already: it is counted, the excess is recorded as overdraft, and nothing is raised.
    """
    held = ledger.lock(holder=holder)
    if held is None:
        if is_observed:
            return False  # a difference that drift() reports; no reservation is created for it here
        raise NothingHeldError(Message("RESERVATION_MISSING"))
    if held.is_running:
        return False
    delta = Delta(running_vcpus=held.vcpus, running_memory_mib=held.memory_mib)
    if not ledger.move(quotas=_quota_of(held), delta=delta, is_forced=is_observed):
        raise _exceeded(held.quota.project, delta)
    _set(held, is_running=True)
    _note(held, Kind.HOLD, delta, why, now)
    return True


@transaction.atomic
def release_running(*, holder: UUID, why: str = "", now: datetime) -> bool:
    """Stop counting the machine as running; return False if it was not."""
    held = ledger.lock(holder=holder)
    if held is None or not held.is_running:
        return False
    delta = -Delta(running_vcpus=held.vcpus, running_memory_mib=held.memory_mib)
    _set(held, is_running=False)
    ledger.move(quotas=_quota_of(held), delta=delta)
    _note(held, Kind.UNHOLD, delta, why, now)
    return True


@transaction.atomic
def change(
    *, holder: UUID, vcpus: int, memory_mib: int, disk_gib: int, why: str = "", now: datetime
) -> Reservation:
    """Change the holder's resources, e.g. for a resize or the revert of a snapshot.

    Increases must fit, decreases are always allowed. Raises NothingHeldError, or QuotaExceededError with the
    shortage, without a change.
    """
    held = ledger.lock(holder=holder)
    if held is None:
        raise NothingHeldError(Message("RESERVATION_MISSING"))
    after = ledger.share(vcpus=vcpus, memory_mib=memory_mib, disk_gib=disk_gib, is_running=held.is_running)
    delta = after - ledger.share_of(held)
    if not ledger.move(quotas=_quota_of(held), delta=delta):
        raise _exceeded(held.quota.project, delta)
    _set(held, vcpus=vcpus, memory_mib=memory_mib, disk_gib=disk_gib)
    _note(held, Kind.CHANGE, delta, why, now)
    return held


def _set(held: Reservation, **fields: object) -> None:
    Reservation.objects.filter(id=held.id).update(**fields)
    for name, value in fields.items():
        setattr(held, name, value)


def _quota_of(held: Reservation) -> object:
    return Quota.objects.filter(id=held.quota_id)


def _note(held: Reservation, kind: Kind, delta: Delta, why: str, now: datetime) -> None:
    ledger.note(quota_id=held.quota_id, holder=held.holder, kind=kind, delta=delta, why=why, now=now)


def _exceeded(project: Project, delta: Delta) -> QuotaExceededError:
    need = Figures(delta.machines, delta.vcpus, delta.memory_mib, delta.disk_gib)
    running = Running(delta.running_vcpus, delta.running_memory_mib)
    headroom = queries.headroom(project=project)
    missing = describe_shortage(headroom, need, running=running)
    # Nothing is missing now: another machine released its share between the UPDATE and this query.
    return QuotaExceededError(
        missing or Message("QUOTA_JUST_FULL"),
        members={"shortage": count_shortage(headroom, need, running=running)},
    )


# --- limits ------------------------------------------------------------------------------------


@transaction.atomic
def set_limits(
    *,
    project: Project,
    limits: Figures,
    running: RunningLimit = UNLIMITED,
    staff: User | None,
    now: datetime,
) -> Quota:
    """Set a project's limits; `staff` is None for commands. Raises ForbiddenError.

    Limits may be below what is held: running machines continue, nothing new is granted, and the excess is
    recorded as overdraft.
    """
    if staff is not None and not staff.is_staff:
        raise ForbiddenError(Message("ONLY_STAFF_SETS_QUOTA"))
    columns = {
        "machines_limit": limits.machines,
        "vcpus_limit": limits.vcpus,
        "memory_mib_limit": limits.memory_mib,
        "disk_gib_limit": limits.disk_gib,
        "running_vcpus_limit": running.vcpus,
        "running_memory_mib_limit": running.memory_mib,
    }
    if not ledger.place_limits(project_id=project.id, limits=columns):
        Quota.objects.create(project=project, **columns)
    _record(project, staff, "SET_QUOTA", describe_whole(limits, running), now)
    return Quota.objects.get(project=project)


@transaction.atomic
def raise_to_fit(*, project: Project, need: Figures, staff: User, now: datetime) -> None:
    """Raise each limit so far that a running machine with these resources fits. Raises ForbiddenError."""
    if not staff.is_staff:
        raise ForbiddenError(Message("ONLY_STAFF_RAISES_QUOTA"))
    missing = describe_shortage(queries.headroom(project=project), need)
    if not missing:
        return
    delta = Delta(need.machines, need.vcpus, need.memory_mib, need.disk_gib, need.vcpus, need.memory_mib)
    quota = Quota.objects.get(project=project)
    ledger.place_limits(
        project_id=project.id,
        limits={
            f"{name}_limit": Greatest(F(f"{name}_limit"), F(f"{name}_reserved") + step)
            for name, step in delta.parts.items()
            if getattr(quota, f"{name}_limit") is not None
        },
    )
    _record(project, staff, "RAISE_QUOTA", missing, now)


@transaction.atomic
def grant_limits(*, project: Project, limits: Mapping[str, int | None], staff: User, now: datetime) -> None:
    """Raise a project's limits to these, by resource; None and higher present limits are kept.

    Raises ForbiddenError.
    """
    if not staff.is_staff:
        raise ForbiddenError(Message("ONLY_STAFF_RAISES_QUOTA"))
    quota = Quota.objects.filter(project=project).first() or Quota.objects.create(
        project=project, machines_limit=0, vcpus_limit=0, memory_mib_limit=0, disk_gib_limit=0
    )
    lifted = {
        f"{name}_limit": Greatest(F(f"{name}_limit"), Value(limit))
        for name, limit in limits.items()
        if limit is not None and getattr(quota, f"{name}_limit") is not None
    }
    ledger.place_limits(project_id=project.id, limits=lifted)
    said = ", ".join(f"{limit} {name}" for name, limit in limits.items() if limit is not None)
    _record(project, staff, "RAISE_QUOTA", said, now)


def _record(project: Project, staff: User | None, action: str, detail: str, now: datetime) -> None:
    audit.record(
        actor=staff,
        action=action,
        target_kind="project",
        target_id=str(project.id),
        target_name=project.name,
        detail=detail,
        now=now,
    )


# --- drift -------------------------------------------------------------------------------------


@transaction.atomic
def settle_drift(*, staff: User, held_by_machines: Mapping[UUID, Held], now: datetime) -> list[Drift]:
    """Make the ledger match what machines hold, and return what was corrected. Raises ForbiddenError.

    What exceeds a limit is recorded as overdraft.
    """
    if not staff.is_staff:
        raise ForbiddenError(Message("ONLY_STAFF_SETTLES_QUOTA"))
    found = queries.drift(held_by_machines=held_by_machines)
    for drift in found:
        if drift.holder is not None:
            _settle_holder(drift, held_by_machines.get(drift.holder), staff, now)
    # the reservations are correct now; columns and entries follow them
    for quota in Quota.objects.select_for_update().order_by("id"):
        _settle_columns(quota, staff, now)
    for drift in found:
        project = Project.objects.get(id=drift.project_id)
        _record(project, staff, "SETTLE_QUOTA", drift.sentence, now)
    return found


def _settle_holder(drift: Drift, machine: Held | None, staff: User, now: datetime) -> None:
    """Correct one reservation to match its machine; the columns are corrected afterwards."""
    held = None if drift.holder is None else ledger.lock(holder=drift.holder)
    if drift.what == What.HOLDS_WITHOUT_MACHINE and held is not None:
        Reservation.objects.filter(id=held.id).update(
            status=Reservation.Status.RELEASED, released_at=now, is_running=False
        )
    elif machine is None or drift.holder is None:
        return
    elif drift.what == What.MACHINE_HOLDS_NOTHING and held is None:
        _hold_again(drift.holder, machine, now)
    elif drift.what == What.FIGURES and held is not None:
        Reservation.objects.filter(id=held.id).update(
            vcpus=machine.vcpus, memory_mib=machine.memory_mib, disk_gib=machine.disk_gib
        )
    elif drift.what == What.RUNNING and held is not None and machine.is_running is not None:
        Reservation.objects.filter(id=held.id).update(is_running=machine.is_running)


def _hold_again(holder: UUID, machine: Held, now: datetime) -> None:
    quota, _ = Quota.objects.get_or_create(
        project_id=machine.project_id,
        defaults={"machines_limit": 0, "vcpus_limit": 0, "memory_mib_limit": 0, "disk_gib_limit": 0},
    )
    Reservation.objects.update_or_create(
        holder=holder,
        defaults={
            "quota": quota,
            "status": Reservation.Status.COMMITTED,
            "vcpus": machine.vcpus,
            "memory_mib": machine.memory_mib,
            "disk_gib": machine.disk_gib,
            "is_running": bool(machine.is_running),
            "created_at": now,
            "released_at": None,
        },
    )


def _settle_columns(quota: Quota, staff: User, now: datetime) -> None:
    right = Delta(**queries.reservation_sum(quota_id=quota.id))
    counted = Delta(**{name: getattr(quota, f"{name}_reserved") for name in RESOURCES})
    written = Delta(**queries.entry_sum(quota_id=quota.id))
    ledger.move(quotas=Quota.objects.filter(id=quota.id), delta=right - counted, is_forced=True)
    if right != written:
        ledger.note(
            quota_id=quota.id,
            holder=None,
            kind=QuotaEntry.Kind.SETTLE,
            delta=right - written,
            why=SETTLED,
            actor=staff,
            now=now,
        )

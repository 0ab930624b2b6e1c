"""The ledger: reserve, commit, release. Knows numbers and holders' ids, not machines.

Each is a conditional UPDATE; the database's own constraints refuse what a forgotten one would let through.
"""

from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Greatest

from webxen.accounts.models import Project, User
from webxen.core import audit
from webxen.core.errors import ForbiddenError, UserError
from webxen.quotas import queries
from webxen.quotas.models import Quota, Reservation
from webxen.quotas.shortage import Figures, Headroom, describe_shortage


class QuotaExceededError(UserError):
    """The project's quota has no room for this; the sentence says how much is missing."""

    code = "QUOTA_EXCEEDED"


@transaction.atomic
def reserve(
    *, project: Project, holder: UUID, vcpus: int, memory_mib: int, disk_gib: int, now: datetime
) -> Reservation:
    """Take a machine's figures from the project's quota, or raise with the exact shortage."""
    fits = Quota.objects.filter(
        project=project,
        machines_limit__gte=F("machines_reserved") + 1,
        vcpus_limit__gte=F("vcpus_reserved") + vcpus,
        memory_mib_limit__gte=F("memory_mib_reserved") + memory_mib,
        disk_gib_limit__gte=F("disk_gib_reserved") + disk_gib,
    )
    if not fits.update(
        machines_reserved=F("machines_reserved") + 1,
        vcpus_reserved=F("vcpus_reserved") + vcpus,
        memory_mib_reserved=F("memory_mib_reserved") + memory_mib,
        disk_gib_reserved=F("disk_gib_reserved") + disk_gib,
    ):
        need = Figures(1, vcpus, memory_mib, disk_gib)
        raise QuotaExceededError(_sentence(queries.headroom(project=project), need))
    return Reservation.objects.create(
        quota=Quota.objects.get(project=project),
        holder=holder,
        vcpus=vcpus,
        memory_mib=memory_mib,
        disk_gib=disk_gib,
        created_at=now,
    )


def _sentence(room: Headroom, need: Figures) -> str:
    # Nothing missing now: another machine gave back its share between our UPDATE and this look.
    return describe_shortage(room, need) or "The quota was full a moment ago. Try again."


def commit(*, holder: UUID, now: datetime) -> bool:
    """The machine was made: what it reserved is now what it has."""
    return bool(
        Reservation.objects.filter(holder=holder, status=Reservation.Status.RESERVED).update(
            status=Reservation.Status.COMMITTED
        )
    )


@transaction.atomic
def release(*, holder: UUID, now: datetime) -> bool:
    """Give the holder's share back. True the first time, False ever after."""
    held = Reservation.objects.filter(holder=holder).exclude(status=Reservation.Status.RELEASED)
    if not held.update(status=Reservation.Status.RELEASED, released_at=now):
        return False
    reservation = Reservation.objects.get(holder=holder)
    Quota.objects.filter(id=reservation.quota_id).update(
        machines_reserved=F("machines_reserved") - 1,
        vcpus_reserved=F("vcpus_reserved") - reservation.vcpus,
        memory_mib_reserved=F("memory_mib_reserved") - reservation.memory_mib,
        disk_gib_reserved=F("disk_gib_reserved") - reservation.disk_gib,
    )
    return True


@transaction.atomic
def set_limits(*, project: Project, limits: Figures, staff: User | None, now: datetime) -> Quota:
    """Give a project its quota, or another one. Never below what it holds: the database refuses."""
    quota, _ = Quota.objects.update_or_create(
        project=project,
        defaults={
            "machines_limit": limits.machines,
            "vcpus_limit": limits.vcpus,
            "memory_mib_limit": limits.memory_mib,
            "disk_gib_limit": limits.disk_gib,
        },
    )
    _record(project, staff, "SET_QUOTA", f"{limits}", now)
    return quota


@transaction.atomic
def raise_to_fit(*, project: Project, need: Figures, staff: User, now: datetime) -> None:
    """Lift each limit just so far that `need` fits on top of what is reserved."""
    if not staff.is_staff:
        raise ForbiddenError("Only staff may raise a quota.")
    missing = describe_shortage(queries.headroom(project=project), need)
    if not missing:
        return
    Quota.objects.filter(project=project).update(
        machines_limit=Greatest(F("machines_limit"), F("machines_reserved") + need.machines),
        vcpus_limit=Greatest(F("vcpus_limit"), F("vcpus_reserved") + need.vcpus),
        memory_mib_limit=Greatest(F("memory_mib_limit"), F("memory_mib_reserved") + need.memory_mib),
        disk_gib_limit=Greatest(F("disk_gib_limit"), F("disk_gib_reserved") + need.disk_gib),
    )
    _record(project, staff, "RAISE_QUOTA", missing, now)


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

"""Staff puts right what has drifted. Nothing else corrects the ledger; each correction is in the audit."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from django.db import transaction

from webxen.accounts.models import User
from webxen.core import audit
from webxen.core.errors import ForbiddenError
from webxen.quotas import ledger, queries
from webxen.quotas.drift import Drift, Held, What
from webxen.quotas.ledger import Delta
from webxen.quotas.models import RESOURCES, Quota, QuotaEntry, Reservation

WHY = "staff settled a difference"


@transaction.atomic
def settle_drift(*, staff: User, held_by_machines: Mapping[UUID, Held], now: datetime) -> list[Drift]:
    """Make the ledger say what machines hold; what was put right. Above a limit it is overdraft."""
    if not staff.is_staff:
        raise ForbiddenError("Only staff may settle the ledger.")
    found = queries.drift(held_by_machines=held_by_machines)
    for drift in found:
        if drift.holder is not None:
            _settle_holder(drift, held_by_machines.get(drift.holder), staff, now)
    # the reservations are right now; the columns and the lines follow them
    for quota in Quota.objects.select_for_update().order_by("id"):
        _settle_columns(quota, staff, now)
    for drift in found:
        audit.record(
            actor=staff,
            action="SETTLE_QUOTA",
            target_kind="project",
            target_id=str(drift.project_id),
            target_name=drift.project,
            detail=drift.sentence,
            now=now,
        )
    return found


def _settle_holder(drift: Drift, machine: Held | None, staff: User, now: datetime) -> None:
    """Bring one reservation to what its machine has; the columns are brought along afterwards."""
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
            why=WHY,
            actor=staff,
            now=now,
        )

"""Change a quota's columns and write the ledger entry of the change; the only writer of both.

operations decides what may change. Locks are always taken in the order
reservation → quota → host → machine.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import F, IntegerField, Q, Value
from django.db.models.functions import Coalesce, Greatest

from webxen.accounts.models import User
from webxen.quotas.models import RESOURCES, Quota, QuotaEntry, Reservation


@dataclass(frozen=True)
class Delta:
    """What one change adds; negative values release."""

    machines: int = 0
    vcpus: int = 0
    memory_mib: int = 0
    disk_gib: int = 0
    running_vcpus: int = 0
    running_memory_mib: int = 0

    def __neg__(self) -> "Delta":
        return Delta(**{name: -getattr(self, name) for name in RESOURCES})

    def __sub__(self, other: "Delta") -> "Delta":
        return Delta(**{name: getattr(self, name) - getattr(other, name) for name in RESOURCES})

    def __add__(self, other: "Delta") -> "Delta":
        return self - -other

    @property
    def parts(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in RESOURCES}


def share(*, vcpus: int, memory_mib: int, disk_gib: int, is_running: bool) -> Delta:
    """Return what one machine holds."""
    return Delta(
        machines=1,
        vcpus=vcpus,
        memory_mib=memory_mib,
        disk_gib=disk_gib,
        running_vcpus=vcpus if is_running else 0,
        running_memory_mib=memory_mib if is_running else 0,
    )


def share_of(held: Reservation) -> Delta:
    """Return what an open reservation holds."""
    return share(
        vcpus=held.vcpus, memory_mib=held.memory_mib, disk_gib=held.disk_gib, is_running=held.is_running
    )


def lock(*, holder: UUID) -> Reservation | None:
    """Lock the holder's open reservation until the transaction ends; None if it has none."""
    rows = Reservation.objects.select_for_update().filter(holder=holder)
    return rows.exclude(status=Reservation.Status.RELEASED).first()


def move(*, quotas: Any, delta: Delta, is_forced: bool = False) -> bool:
    """Change the columns of the one quota in `quotas`; return False, without a change, if it does not fit.

    Only increases must fit: a project above a lowered limit can still release. `is_forced` is for facts (a
    machine was observed running): the excess is recorded as overdraft.
    """
    fits = Q()
    changes: dict[str, Any] = {}
    for name, step in delta.parts.items():
        if not step:
            continue
        after = F(f"{name}_reserved") + step
        if step > 0 and not is_forced:
            fits &= Q(**{f"{name}_limit__gte": after}) | Q(**{f"{name}_limit__isnull": True})
        changes[f"{name}_reserved"] = after
        changes[f"{name}_overdraft"] = _excess(after, F(f"{name}_limit"))
    return bool(quotas.filter(fits).update(**changes)) if changes else quotas.exists()


def _excess(reserved: Any, limit: Any) -> Any:
    # without a limit there is no excess
    whole = IntegerField()
    return Greatest(Value(0), Coalesce(reserved - limit, Value(0), output_field=whole), output_field=whole)


def place_limits(*, project_id: UUID, limits: dict[str, Any]) -> bool:
    """Write new limits; what is held above them is recorded as overdraft. Return False if there is no
    quota.
    """
    changes = dict(limits)
    for name in RESOURCES:
        if f"{name}_limit" not in limits:
            continue
        limit = limits[f"{name}_limit"]
        changes[f"{name}_overdraft"] = (
            Value(0) if limit is None else _excess(F(f"{name}_reserved"), _number(limit))
        )
    return bool(Quota.objects.filter(project_id=project_id).update(**changes))


def _number(limit: Any) -> Any:
    return Value(limit) if isinstance(limit, int) else limit


def note(
    *,
    quota_id: int,
    holder: UUID | None,
    kind: QuotaEntry.Kind,
    delta: Delta,
    why: str,
    actor: User | None = None,
    now: datetime,
) -> None:
    """Add a ledger entry."""
    QuotaEntry.objects.create(
        quota_id=quota_id, holder=holder, kind=kind, why=why, actor=actor, at=now, **delta.parts
    )

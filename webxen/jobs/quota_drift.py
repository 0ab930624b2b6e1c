"""What the quota's sums, its reservations and the machines say of one another, for `verify`.

Lives here: the one place where `verify` meets the ledger. It changes a sum only to what the
reservations say, and no reservation at all.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from uuid import UUID

from django.db.models import Count, QuerySet, Sum

from webxen.jobs.findings import Finding
from webxen.machines.models import Machine
from webxen.quotas.models import Quota, Reservation

FIGURES = ("machines", "vcpus", "memory_mib", "disk_gib")
#: a machine in one of these holds its share; a failed one may have given it back
HOLDING = (Machine.State.PENDING, Machine.State.BUILDING, Machine.State.READY)


def holders() -> set[UUID]:
    """Ids of whatever holds a share now."""
    return set(_held().values_list("holder", flat=True))


def _held() -> QuerySet[Reservation]:
    return Reservation.objects.exclude(status=Reservation.Status.RELEASED)


def find(*, machines: Iterable[Machine]) -> Iterator[Finding]:
    """Sums that differ from their reservations, and reservations that differ from the machines."""
    for quota in Quota.objects.select_related("project"):
        kept, right = _kept(quota), _right(quota)
        if kept != right:
            said = f"Project {quota.project.name} is charged {_text(kept)}; its machines hold {_text(right)}."
            yield Finding("QUOTA_DRIFT", said, target=str(quota.id), value=repr(kept))
    holding, known = holders(), {machine.id: machine for machine in machines}
    for machine in known.values():
        if machine.state in HOLDING and machine.id not in holding:
            at = (machine.host.name,) if machine.host else ()
            said = f"{machine.name} is {machine.state.lower()} and holds nothing of its project's quota."
            yield Finding("RESERVATION_LOST", said, at, machine.name, str(machine.id))
    living = {machine.id for machine in known.values() if machine.state != Machine.State.DELETED}
    for holder in sorted(holding - living):
        said = f"A machine that is not there ({holder}) holds a share of a quota."
        yield Finding("RESERVATION_LOST", said, (), "", str(holder))


def _kept(quota: Quota) -> tuple[int, ...]:
    return tuple(getattr(quota, f"{name}_reserved") for name in FIGURES)


def _right(quota: Quota) -> tuple[int, ...]:
    sums = (
        _held()
        .filter(quota=quota)
        .aggregate(
            machines=Count("id"), vcpus=Sum("vcpus"), memory_mib=Sum("memory_mib"), disk_gib=Sum("disk_gib")
        )
    )
    return tuple(sums[name] or 0 for name in FIGURES)


def _text(figures: tuple[int, ...]) -> str:
    machines, vcpus, memory_mib, disk_gib = figures
    return f"{machines} machines, {vcpus} vCPUs, {memory_mib} MiB and {disk_gib} GiB"


def mend(finding: Finding, now: datetime) -> str:
    """Set the sums to what the reservations say, if they are still what was seen."""
    quota = Quota.objects.select_related("project").get(id=finding.target)
    kept = _kept(quota)
    if repr(kept) != finding.value:
        return ""
    right = _right(quota)
    seen = {f"{name}_reserved": figure for name, figure in zip(FIGURES, kept, strict=True)}
    fresh = {f"{name}_reserved": figure for name, figure in zip(FIGURES, right, strict=True)}
    if not Quota.objects.filter(id=quota.id, **seen).update(**fresh):
        return ""
    return f"Project {quota.project.name} is now charged {_text(right)}."

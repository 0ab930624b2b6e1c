"""Query quotas."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db.models import Case, Count, F, IntegerField, QuerySet, Sum, Value, When

from webxen.accounts import queries as accounts
from webxen.accounts.models import Project, User
from webxen.core.errors import NotFoundError
from webxen.quotas import drift as compared
from webxen.quotas.drift import Books, Drift, Held, Share
from webxen.quotas.models import RESOURCES, Quota, QuotaEntry, Reservation
from webxen.quotas.shortage import NOTHING, Figures, Headroom, Running, RunningLimit


def visible_to(*, user: User) -> QuerySet[Quota]:
    """Quotas of the user's projects; all for staff."""
    return Quota.objects.select_related("project").filter(project__in=accounts.visible_projects(user=user))


def get_visible(*, user: User, project_id: UUID) -> Quota:
    """Return a project's quota. Raises NotFoundError if it is not visible to the user."""
    quota = visible_to(user=user).filter(project=project_id).first()
    if quota is None:
        raise NotFoundError
    return quota


def headroom(*, project: Project) -> Headroom:
    """Return the project's limits and what it holds; without a quota all limits are zero."""
    quota = Quota.objects.filter(project=project).first()
    return Headroom(NOTHING, NOTHING) if quota is None else headroom_of(quota)


def headroom_for(*, user: User, project: Project) -> Headroom:
    """As `headroom`, for a member of the project. Raises NotFoundError for anyone else."""
    found = accounts.projects_of(user=user).select_related("quota").filter(id=project.id).first()
    if found is None:
        raise NotFoundError
    # a project without a quota has no such attribute
    quota: Quota | None = getattr(found, "quota", None)
    return Headroom(NOTHING, NOTHING) if quota is None else headroom_of(quota)


def headroom_of(quota: Quota) -> Headroom:
    """Return the limits of a quota and what is reserved."""
    return Headroom(
        limit=Figures(quota.machines_limit, quota.vcpus_limit, quota.memory_mib_limit, quota.disk_gib_limit),
        reserved=Figures(
            quota.machines_reserved, quota.vcpus_reserved, quota.memory_mib_reserved, quota.disk_gib_reserved
        ),
        running_limit=RunningLimit(quota.running_vcpus_limit, quota.running_memory_mib_limit),
        running=Running(quota.running_vcpus_reserved, quota.running_memory_mib_reserved),
    )


def is_committed(*, holder: UUID) -> bool:
    """Whether the holder was created and still has its reservation."""
    return Reservation.objects.filter(holder=holder, status=Reservation.Status.COMMITTED).exists()


def used_of(quota: Quota) -> Figures:
    """Return what existing machines hold; the rest of the reservations belongs to machines being created."""
    sums = Reservation.objects.filter(quota=quota, status=Reservation.Status.COMMITTED).aggregate(
        machines=Count("*"), vcpus=Sum("vcpus"), memory_mib=Sum("memory_mib"), disk_gib=Sum("disk_gib")
    )
    return Figures(*(sums[name] or 0 for name in ("machines", "vcpus", "memory_mib", "disk_gib")))


def running_of(quota: Quota) -> Running:
    """Return what existing machines hold as running; the rest belongs to machines being created."""
    there = Reservation.objects.filter(quota=quota, status=Reservation.Status.COMMITTED, is_running=True)
    sums = there.aggregate(vcpus=Sum("vcpus"), memory_mib=Sum("memory_mib"))
    return Running(sums["vcpus"] or 0, sums["memory_mib"] or 0)


def held_in(*, project: Project) -> QuerySet[Reservation]:
    """Open reservations of a project's quota, most memory first. The caller checks visibility."""
    of_quota = _open().filter(quota=Quota.objects.filter(project=project).first())
    return of_quota.order_by("-memory_mib", "created_at", "id")


def running_holders(*, holders: list[UUID]) -> dict[UUID, bool]:
    """Of these holders, those with an open reservation: whether it counts as running."""
    return dict(_open().filter(holder__in=holders).values_list("holder", "is_running"))


def _open() -> QuerySet[Reservation]:
    return Reservation.objects.exclude(status=Reservation.Status.RELEASED)


# --- drift -------------------------------------------------------------------------------------


def drift(*, held_by_machines: Mapping[UUID, Held]) -> list[Drift]:
    """Return every difference between columns, reservations, entries and what machines hold."""
    reservations = _reservation_sums()
    entries = _entry_sums()
    none: dict[str, int] = {}
    books = [
        Books(
            project=quota.project.slug,
            project_id=quota.project_id,
            columns={name: getattr(quota, f"{name}_reserved") for name in RESOURCES},
            reservations={name: reservations.get(quota.id, none).get(name, 0) for name in RESOURCES},
            entries={name: entries.get(quota.id, none).get(name, 0) for name in RESOURCES},
        )
        for quota in Quota.objects.select_related("project").order_by("project__slug")
    ]
    return compared.compare(books=books, shares=_shares(), held=held_by_machines)


def _shares() -> dict[UUID, Share]:
    rows = _open().select_related("quota__project").order_by("created_at", "id")
    return {
        row.holder: Share(
            project=row.quota.project.slug,
            project_id=row.quota.project_id,
            holder=row.holder,
            vcpus=row.vcpus,
            memory_mib=row.memory_mib,
            disk_gib=row.disk_gib,
            is_running=row.is_running,
        )
        for row in rows
    }


def used_in(*, quota_ids: Sequence[int]) -> dict[int, dict[str, int]]:
    """Return what existing machines hold, by quota and resource. The caller checks visibility."""
    made = Reservation.objects.filter(quota__in=list(quota_ids), status=Reservation.Status.COMMITTED)
    return _sums_of(made)


def _reservation_sums() -> dict[int, dict[str, int]]:
    return _sums_of(_open())


def _sums_of(reservations: QuerySet[Reservation]) -> dict[int, dict[str, int]]:
    def while_on(name: str) -> Sum:
        return Sum(Case(When(is_running=True, then=F(name)), default=Value(0), output_field=IntegerField()))

    # an aggregate may not have the name of the column it sums
    sums = (
        reservations.order_by()
        .values("quota")
        .annotate(
            machines_sum=Count("*"),
            vcpus_sum=Sum("vcpus"),
            memory_mib_sum=Sum("memory_mib"),
            disk_gib_sum=Sum("disk_gib"),
            running_vcpus_sum=while_on("vcpus"),
            running_memory_mib_sum=while_on("memory_mib"),
        )
    )
    return _by_quota(sums)


def reservation_sum(*, quota_id: int) -> dict[str, int]:
    """Return the sums of one quota's open reservations, by resource."""
    return _reservation_sums().get(quota_id, dict.fromkeys(RESOURCES, 0))


def _entry_sums() -> dict[int, dict[str, int]]:
    sums = (
        QuotaEntry.objects.order_by()
        .values("quota")
        .annotate(**{f"{name}_sum": Sum(name) for name in RESOURCES})
    )
    return _by_quota(sums)


def _by_quota(sums: Any) -> dict[int, dict[str, int]]:
    return {row["quota"]: {name: row[f"{name}_sum"] for name in RESOURCES} for row in sums}


def entry_sum(*, quota_id: int) -> dict[str, int]:
    """Return the sums of one quota's ledger entries, by resource."""
    return _entry_sums().get(quota_id, dict.fromkeys(RESOURCES, 0))

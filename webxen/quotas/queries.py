"""Reading quotas. Nothing is written here."""

from uuid import UUID

from django.db.models import Count, QuerySet, Sum

from webxen.accounts import queries as accounts
from webxen.accounts.models import Project, User
from webxen.quotas.models import Quota, Reservation
from webxen.quotas.shortage import Figures, Headroom

NOTHING = Figures(0, 0, 0, 0)


def visible_to(*, user: User) -> QuerySet[Quota]:
    return Quota.objects.select_related("project").filter(project__in=accounts.visible_projects(user=user))


def headroom(*, project: Project) -> Headroom:
    """What the project may have and what it holds; a project without a quota may have nothing."""
    quota = Quota.objects.filter(project=project).first()
    return Headroom(NOTHING, NOTHING) if quota is None else headroom_of(quota)


def headroom_of(quota: Quota) -> Headroom:
    return Headroom(
        limit=Figures(quota.machines_limit, quota.vcpus_limit, quota.memory_mib_limit, quota.disk_gib_limit),
        reserved=Figures(
            quota.machines_reserved, quota.vcpus_reserved, quota.memory_mib_reserved, quota.disk_gib_reserved
        ),
    )


def is_committed(*, holder: UUID) -> bool:
    """Was the holder made, and does it still hold its share?"""
    return Reservation.objects.filter(holder=holder, status=Reservation.Status.COMMITTED).exists()


def used_of(quota: Quota) -> Figures:
    """What machines that exist hold; the rest of what is reserved is promised to machines being made."""
    sums = Reservation.objects.filter(quota=quota, status=Reservation.Status.COMMITTED).aggregate(
        machines=Count("id"), vcpus=Sum("vcpus"), memory_mib=Sum("memory_mib"), disk_gib=Sum("disk_gib")
    )
    return Figures(*(sums[name] or 0 for name in ("machines", "vcpus", "memory_mib", "disk_gib")))

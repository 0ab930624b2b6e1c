"""Query requests for machines and quota. Every query starts from `visible_to`."""

from uuid import UUID

from django.db.models import QuerySet

from webxen.accounts import queries as accounts
from webxen.accounts.models import Project, User
from webxen.approvals import policy
from webxen.approvals.models import MachineRequest, QuotaRequest
from webxen.approvals.policy import Decision
from webxen.core.errors import NotFoundError
from webxen.quotas import queries as quotas
from webxen.quotas.shortage import Figures


def visible_to(*, user: User) -> QuerySet[MachineRequest]:
    """Requests of the user's projects; all for staff."""
    return MachineRequest.objects.filter(project__in=accounts.visible_projects(user=user)).select_related(
        "requester", "project", "image", "size", "network", "decided_by", "machine", "job"
    )


def get_visible(*, user: User, id: UUID) -> MachineRequest:
    """Return a machine request. Raises NotFoundError if it is not visible to the user."""
    request = visible_to(user=user).filter(id=id).first()
    if request is None:
        raise NotFoundError
    return request


def requested_names(*, project: Project) -> set[str]:
    """Names reserved by pending requests of a project. The caller checks visibility."""
    waiting_ones = MachineRequest.objects.filter(status=MachineRequest.Status.PENDING, project=project)
    return set(waiting_ones.values_list("name", flat=True))


def waiting(*, user: User) -> QuerySet[MachineRequest]:
    """Pending requests visible to the user, oldest first."""
    return visible_to(user=user).filter(status=MachineRequest.Status.PENDING).order_by("created_at")


def preview(
    *, project: Project, vcpus: int, memory_mib: int, disk_gib: int, is_listed_size: bool
) -> Decision:
    """Return what the policy would decide now, for the size cards."""
    return policy.decide(
        figures=Figures(1, vcpus, memory_mib, disk_gib),
        is_listed_size=is_listed_size,
        headroom=quotas.headroom(project=project),
    )


# --- more quota --------------------------------------------------------------------------------


def quota_requests_visible_to(*, user: User) -> QuerySet[QuotaRequest]:
    """Quota requests of the user's projects; all for staff."""
    return QuotaRequest.objects.filter(project__in=accounts.visible_projects(user=user)).select_related(
        "requester", "project", "decided_by"
    )


def get_quota_request(*, user: User, id: UUID) -> QuotaRequest:
    """Return a quota request. Raises NotFoundError if it is not visible to the user."""
    request = quota_requests_visible_to(user=user).filter(id=id).first()
    if request is None:
        raise NotFoundError
    return request


def waiting_for_quota(*, user: User) -> QuerySet[QuotaRequest]:
    """Pending quota requests visible to the user, oldest first."""
    return (
        quota_requests_visible_to(user=user).filter(status=QuotaRequest.Status.PENDING).order_by("created_at")
    )

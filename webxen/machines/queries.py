"""Reading machines. Every read starts from `visible_to`; nothing is written here."""

from uuid import UUID

from django.db.models import Prefetch, QuerySet

from webxen.accounts import queries as accounts
from webxen.accounts.models import Project, User
from webxen.core.errors import NotFoundError
from webxen.inventory import queries as inventory
from webxen.machines.models import Interface, Machine


def visible_to(*, user: User) -> QuerySet[Machine]:
    """Machines of the person's projects, staff all; deleted ones are gone for everybody."""
    return (
        Machine.objects.exclude(state=Machine.State.DELETED)
        .filter(project__in=accounts.visible_projects(user=user))
        .select_related("project", "owner", "host", "image")
        .defer(*inventory.all_it_says("host"))
        .prefetch_related("disks", Prefetch("interfaces", Interface.objects.select_related("network")))
    )


def get_visible(*, user: User, id: UUID) -> Machine:
    machine = visible_to(user=user).filter(id=id).first()
    if machine is None:
        raise NotFoundError
    return machine


def is_name_used(*, project: Project, name: str) -> bool:
    return Machine.objects.exclude(state=Machine.State.DELETED).filter(project=project, name=name).exists()

"""Query machines. Every query starts from `visible_to`."""

from datetime import datetime
from uuid import UUID

from django.db.models import Prefetch, QuerySet

from webxen.accounts import queries as accounts
from webxen.accounts.models import Project, User
from webxen.core.errors import NotFoundError
from webxen.inventory import queries as inventory
from webxen.machines.models import Interface, Machine


class MachineDeletedError(NotFoundError):
    """The machine existed, and the user may know that."""

    def __init__(self, machine: Machine) -> None:
        super().__init__(f"{machine.name} is deleted.")
        self.machine_id = machine.id


def visible_to(*, user: User) -> QuerySet[Machine]:
    """Machines of the user's projects, all for staff; without deleted ones."""
    return (
        Machine.objects.exclude(state=Machine.State.DELETED)
        .filter(project__in=accounts.visible_projects(user=user))
        .select_related("project", "owner", "host", "image")
        .defer(*inventory.all_it_says("host"))
        .prefetch_related("disks", Prefetch("interfaces", Interface.objects.select_related("network")))
    )


def count_unseen(*, user: User, now: datetime) -> int:
    """Number of machines visible to the user that are on a silent host."""
    quiet = inventory.silent_hosts(now=now)
    return visible_to(user=user).filter(host__in=quiet).order_by().count()


def get_visible(*, user: User, id: UUID) -> Machine:
    """Return the machine. Raises MachineDeletedError, or NotFoundError if it is not visible."""
    machine = visible_to(user=user).filter(id=id).first()
    if machine is None:
        deleted = find_deleted(user=user, id=id)
        raise MachineDeletedError(deleted) if deleted else NotFoundError
    return machine


def find_deleted(*, user: User, id: UUID) -> Machine | None:
    """Return the deleted machine if the user could see it, otherwise None."""
    deleted = Machine.objects.filter(id=id, state=Machine.State.DELETED)
    return deleted.filter(project__in=accounts.visible_projects(user=user)).first()


def is_name_used(*, project: Project, name: str) -> bool:
    return Machine.objects.exclude(state=Machine.State.DELETED).filter(project=project, name=name).exists()

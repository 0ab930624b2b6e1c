"""Query machines. Every query starts from `visible_to`."""

import re
from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from django.db.models import Prefetch, Q, QuerySet

from webxen.accounts import queries as accounts
from webxen.accounts.models import Project, User
from webxen.accounts.queries import Sight
from webxen.core.errors import NotFoundError
from webxen.core.messages import Message
from webxen.inventory import queries as inventory
from webxen.machines.models import Interface, Machine

ADDRESS_BEGINS = re.compile(r"[0-9.]{1,15}")


class MachineDeletedError(NotFoundError):
    """The machine existed, and the user may know that."""

    def __init__(self, machine: Machine) -> None:
        super().__init__(Message("MACHINE_DELETED", name=machine.name))
        self.machine_id = machine.id


def visible_to(*, user: User, sight: Sight | None = None) -> QuerySet[Machine]:
    """Machines of the user's projects, all for staff; without deleted ones.

    `sight`: the result of `sight_of`, if the caller has it already.
    """
    there = Machine.objects.exclude(state=Machine.State.DELETED)
    if not user.is_staff:
        # ids instead of a subquery: for a single project the index then returns rows in order
        there = there.filter(project__in=(sight or accounts.sight_of(user=user)).projects)
    return (
        there.select_related("project", "owner", "host", "image")
        .defer(*inventory.all_it_says("host"))
        .prefetch_related("disks", Prefetch("interfaces", Interface.objects.select_related("network")))
    )


def count_unseen(*, user: User, now: datetime) -> int:
    """Number of machines visible to the user that are on a silent host."""
    quiet = list(inventory.silent_hosts(now=now).values_list("id", flat=True))
    return visible_to(user=user).filter(host__in=quiet).order_by().count()


def called(text: str) -> Q:
    """Match machines with this text in the name, or with an address that begins with it."""
    named = Q(name__icontains=text)
    if not ADDRESS_BEGINS.fullmatch(text):
        return named
    return named | Q(id__in=Interface.objects.filter(ipv4__startswith=text).values("machine"))


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
    """Whether a machine of the project has this name."""
    return Machine.objects.exclude(state=Machine.State.DELETED).filter(project=project, name=name).exists()


def names_taken(*, project: Project, among: Iterable[str]) -> set[str]:
    """Return which of these names are used by machines of the project."""
    there = Machine.objects.filter(project=project, name__in=list(among)).exclude(state=Machine.State.DELETED)
    return set(there.values_list("name", flat=True))


def mine_first(*, user: User, most: int) -> list[UUID]:
    """Ids of at most `most` machines visible to the user: the user's own first, each newest first."""
    newest = visible_to(user=user).order_by("-created_at").values_list("id", flat=True)
    own = list(newest.filter(owner=user)[:most])
    return [*own, *newest.exclude(owner=user)[: most - len(own)]]

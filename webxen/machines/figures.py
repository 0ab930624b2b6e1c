"""Machines as placement sees them, by host, in three queries. Reads only."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from uuid import UUID

from django.db.models import QuerySet, Sum, TextField
from django.db.models.functions import Cast

from webxen.inventory.placement import MachineFigures
from webxen.machines.models import Disk, Interface, Machine
from webxen.quotas import queries as quotas

#: with more machines than this, results over all of them are computed by a periodic task
MANY = 500
#: prefix of a tag that names a group: its machines of one project are kept on different hosts
APART = "apart:"


def are_many(*, projects: Collection[UUID] | None = None) -> bool:
    """Whether there are more than MANY machines; takes the same time however many there are.

    `projects`: count only these projects; None: all.
    """
    there = Machine.objects.exclude(state=Machine.State.DELETED).order_by()
    if projects is not None:
        there = there.filter(project__in=projects)
    return there[MANY : MANY + 1].exists()


def figures_by_host(*, host_ids: Iterable[UUID] | None = None) -> dict[UUID, tuple[MachineFigures, ...]]:
    """All machines that occupy memory of a host, by host id. `host_ids`: only these hosts; None: all."""
    placed = _placed(host_ids)
    disks: dict[UUID, tuple[str, int]] = {}
    of_placed = Disk.objects.filter(machine__in=placed).order_by("-vdev")
    for machine_id, pool, size_gib in of_placed.values_list("machine_id", "pool", "size_gib"):
        # the pool of the first disk, which comes last here; placement uses it for new machines
        disks[machine_id] = pool, disks.get(machine_id, ("", 0))[1] + size_gib * 1024
    cards = Interface.objects.filter(machine__in=placed).order_by("-id")
    bridges = dict(cards.values_list("machine_id", "network__bridge"))
    found: dict[UUID, list[MachineFigures]] = defaultdict(list)
    columns = ("id", "host_id", "name", "memory_mib", "vcpus", "project_id", "tags")
    for machine_id, host_id, name, memory_mib, vcpus, project_id, tags in placed.values_list(*columns):
        pool, disk_mib = disks.get(machine_id, ("local", 0))
        found[host_id].append(
            MachineFigures(
                id=str(machine_id),
                name=name,
                memory_mib=memory_mib,
                vcpus=vcpus,
                disk_mib=disk_mib,
                pool=pool,
                bridge=bridges.get(machine_id, ""),
                group=group_of(project_id=project_id, tags=tags),
            )
        )
    return {host_id: tuple(machines) for host_id, machines in found.items()}


def _placed(host_ids: Iterable[UUID] | None) -> QuerySet[Machine]:
    there = Machine.objects.exclude(host=None).exclude(state=Machine.State.DELETED)
    return there if host_ids is None else there.filter(host__in=list(host_ids))


def sums_by_host(*, host_ids: Iterable[UUID] | None = None) -> dict[UUID, tuple[MachineFigures, ...]]:
    """Totals of each host's machines, as one machine; machines with a group are listed individually.

    Enough to place one machine when no pool is shared: then no machine could restart elsewhere, and their
    identity does not matter. The database computes the sums. `host_ids`: see `figures_by_host`.
    """
    placed = _placed(host_ids).order_by()
    of_host = placed.values_list("host_id").annotate(Sum("vcpus"), Sum("memory_mib"))
    found: dict[UUID, list[MachineFigures]] = {
        host_id: [MachineFigures(id="sum", vcpus=vcpus, memory_mib=memory_mib)]
        for host_id, vcpus, memory_mib in of_host
    }
    of_pool = Disk.objects.filter(machine__in=placed).order_by().values_list("machine__host_id", "pool")
    # for a few hosts of a large fleet, the pools' reported sizes suffice
    of_pool = of_pool if host_ids is None else of_pool.none()
    for host_id, pool, size_gib in of_pool.annotate(Sum("size_gib")):
        disks = MachineFigures(
            id=f"disks in {pool}", vcpus=0, memory_mib=0, pool=pool, disk_mib=size_gib * 1024
        )
        found[host_id].append(disks)
    apart = placed.annotate(text=Cast("tags", TextField())).filter(text__contains=APART)
    for host_id, machine_id, project_id, tags in apart.values_list("host_id", "id", "project_id", "tags"):
        group = group_of(project_id=project_id, tags=tags)
        found[host_id].append(MachineFigures(id=str(machine_id), vcpus=0, memory_mib=0, group=group))
    return {host_id: tuple(machines) for host_id, machines in found.items()}


def disks_by_pool(*, host_ids: Iterable[UUID]) -> dict[tuple[UUID, str], int]:
    """MiB of disks that machines of these hosts have or are being given, by host id and pool name.

    The disks of a failed build were removed with it: a failed machine without quota has no disk.
    """
    there = Machine.objects.filter(host_id__in=host_ids).exclude(state=Machine.State.DELETED)
    failed = list(there.filter(state=Machine.State.FAILED).values_list("id", flat=True))
    gone = set(failed) - quotas.running_holders(holders=failed).keys() if failed else ()
    living = Disk.objects.filter(machine__in=there).exclude(machine_id__in=gone).order_by()
    sums = living.values_list("machine__host_id", "pool").annotate(Sum("size_gib"))
    return {(host_id, pool): size_gib * 1024 for host_id, pool, size_gib in sums}


def group_of(*, project_id: UUID, tags: Iterable[str]) -> str:
    """The group the machine is kept apart in, or ""; the first such tag counts."""
    names = sorted(tag.removeprefix(APART) for tag in tags if tag.startswith(APART))
    return f"{names[0]} ({str(project_id)[:8]})" if names and names[0] else ""

"""Choose a host for a machine and reserve its memory and disk space, in the caller's transaction."""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.db import transaction

from webxen.core.errors import UserError
from webxen.inventory import operations as inventory
from webxen.inventory import queries, space
from webxen.inventory.models import Host
from webxen.inventory.placement import Choice, HostFigures, Need, choose_host
from webxen.machines import figures as machine_figures
from webxen.machines import operations as machines
from webxen.machines.models import Machine

#: name of the local pool of every host
OWN_POOL = "local"
#: another request may take a host's last memory between choice and reservation
ATTEMPTS = 5


class NoRoomError(UserError):
    """The requested host cannot take the machine."""

    code = "NO_ROOM"


def is_host(*, name: str) -> bool:
    """Whether a host of this name exists and is not removed."""
    host = queries.host_named(name=name)
    return host is not None and host.state != Host.State.REMOVED


def figures(*, now: datetime) -> list[HostFigures]:
    """Return every host as placement sees it when it chooses a host for one machine."""
    if queries.ids_of_shared_pools():
        return figures_of_each(now=now)
    # no machine could restart elsewhere, so totals suffice: a few rows per host instead of all machines
    return queries.figures(now=now, machines=machine_figures.sums_by_host())


def figures_of_each(*, now: datetime) -> list[HostFigures]:
    """Return every host with each of its machines, for plans that move several of them."""
    return queries.figures(now=now, machines=machine_figures.figures_by_host())


def figures_near(*, host: Host, most: int, now: datetime) -> list[HostFigures]:
    """Figures of a host with each of its machines, and of the `most` likely targets with totals."""
    others = queries.near_hosts(host=host, most=most, now=now)
    sums = machine_figures.sums_by_host(host_ids=others)
    own = machine_figures.figures_by_host(host_ids=[host.id])
    return queries.figures(now=now, machines=sums | own, host_ids=[host.id, *others])


def choose(
    hosts: list[HostFigures], need: Need, *, wanted: str | None = None, knows_machines: bool = True
) -> Choice:
    """Choose a host by the configured policy. `knows_machines`: see `choose_host`."""
    prefers_n1 = settings.WEBXEN_PLACEMENT_N1 == "PREFER"
    return choose_host(hosts, need, wanted=wanted, prefers_n1=prefers_n1, knows_machines=knows_machines)


def is_near() -> bool:
    """Whether there are too many hosts, or machines on shared storage, to compute over all of them."""
    return queries.are_many_hosts() or bool(queries.ids_of_shared_pools() and machine_figures.are_many())


def figures_among(*, names: Collection[str], now: datetime) -> tuple[list[HostFigures], bool]:
    """Figures of the named hosts, and whether they contain each machine or, in a large fleet, totals."""
    if not is_near():
        return [one for one in figures(now=now) if one.name in names], True
    ids = queries.ids_of_hosts(names=names)
    return queries.figures(now=now, machines=machine_figures.sums_by_host(host_ids=ids), host_ids=ids), False


class Forecast:
    """Where machines would be placed now; hosts are read once and used for any number of questions.

    With few hosts, all are considered. With many, those with enough memory are considered in batches, the
    emptiest first, until one fits; N+1 is then not computed.
    """

    def __init__(self, *, now: datetime) -> None:
        self._now = now
        self._all: list[HostFigures] | None = None
        self._some: dict[tuple[UUID, ...], list[HostFigures]] = {}
        self._is_near = is_near()

    def choose(self, need: Need, *, wanted: str | None = None) -> Choice:
        """The host the machine would go to, or why there is none."""
        if not self._is_near:
            if self._all is None:
                self._all = figures(now=self._now)
            return choose(self._all, need, wanted=wanted)
        if wanted is not None:
            host = queries.host_named(name=wanted)
            return self._choose_among([host.id] if host else [], need, wanted)
        start, first = 0, Choice(None, {})
        while ids := queries.roomy_hosts(memory_mib=need.memory_mib, now=self._now, start=start):
            found = self._choose_among(ids, need)
            if found.host is not None:
                return found
            first, start = first if start else found, start + len(ids)
        # no host has enough memory: report the reasons of some
        return first if start else self._choose_among(queries.roomy_hosts(memory_mib=0, now=self._now), need)

    def _choose_among(self, ids: list[UUID], need: Need, wanted: str | None = None) -> Choice:
        key = tuple(ids)
        if key not in self._some:
            sums = machine_figures.sums_by_host(host_ids=ids)
            self._some[key] = queries.figures(now=self._now, machines=sums, host_ids=ids)
        return choose(self._some[key], need, wanted=wanted, knows_machines=False)


def needs_of(machine: Machine) -> list[Need]:
    """Return what the machine needs, one entry per possible pool, the preferred pool first."""
    need = need_of(machine)
    if settings.WEBXEN_NEW_DISKS != "SHARED" or need.pool != OWN_POOL:
        return [need]
    return [*(replace(need, pool=name) for name in queries.shared_pools_by_room()), need]


def need_of(machine: Machine) -> Need:
    """Return what the machine needs, in its present pool."""
    disks, cards = list(machine.disks.all()), list(machine.interfaces.select_related("network"))
    return Need(
        memory_mib=machine.memory_mib,
        disk_mib=sum(disk.size_gib for disk in disks) * 1024,
        image_file=machine.image.file,
        image_sha256=machine.image.sha256,
        pool=disks[0].pool if disks else OWN_POOL,
        bridge=cards[0].network.bridge if cards else "",
        vcpus=machine.vcpus,
        group=machine_figures.group_of(project_id=machine.project_id, tags=machine.tags),
    )


def take_host(*, machine: Machine, wanted: str | None, now: datetime) -> tuple[Host | None, str]:
    """Choose a host and a pool and reserve memory and space; or return None with the reasons of all hosts.

    The result for each host is stored for staff.
    """
    choice = Choice(None, {})
    for need in needs_of(machine):
        for _ in range(ATTEMPTS):
            choice = _choose_now(need, wanted, now)
            host = queries.host_named(name=choice.host) if choice.host else None
            if host is None:
                break
            if hold(host=host, need=need, now=now):
                machines.put_disks(machine=machine, pool=need.pool, now=now)
                machines.note_placement(machine=machine, verdicts=choice.verdicts, now=now)
                return host, ""
    machines.note_placement(machine=machine, verdicts=choice.verdicts, now=now)
    return None, choice.explain()


def _choose_now(need: Need, wanted: str | None, now: datetime) -> Choice:
    """As in a forecast; with shared pools, over all machines, so that N+1 is kept."""
    if queries.ids_of_shared_pools():
        return choose(figures_of_each(now=now), need, wanted=wanted)
    return Forecast(now=now).choose(need, wanted=wanted)


def hold(*, host: Host, need: Need, now: datetime) -> bool:
    """Reserve the host's memory and its pool's space, or neither; return False if one is taken."""
    # after the rollback to this savepoint no row stays locked while another host is chosen
    with transaction.atomic():
        sizes = {need.pool: need.disk_mib}
        is_held = inventory.reserve_host_memory(
            host_id=host.id, memory_mib=need.memory_mib, now=now
        ) and not space.promise(host_id=host.id, sizes=sizes, now=now)
        transaction.set_rollback(not is_held)
    return is_held

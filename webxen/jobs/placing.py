"""Choose a host for a machine and reserve its memory and disk space, in the caller's transaction."""

from dataclasses import replace
from datetime import datetime

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


def choose(hosts: list[HostFigures], need: Need, *, wanted: str | None = None) -> Choice:
    """Choose a host by the configured policy."""
    return choose_host(hosts, need, wanted=wanted, prefers_n1=settings.WEBXEN_PLACEMENT_N1 == "PREFER")


def needs_of(machine: Machine) -> list[Need]:
    """Return what the machine needs, one entry per possible pool, the preferred pool first."""
    need = need_of(machine)
    if settings.WEBXEN_NEW_DISKS != "SHARED" or need.pool != OWN_POOL:
        return [need]
    return [*(replace(need, pool=name) for name in queries.shared_pools_by_room()), need]


def need_of(machine: Machine) -> Need:
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
            choice = choose(figures(now=now), need, wanted=wanted)
            host = queries.host_named(name=choice.host) if choice.host else None
            if host is None:
                break
            if hold(host=host, need=need, now=now):
                machines.put_disks(machine=machine, pool=need.pool, now=now)
                machines.note_placement(machine=machine, verdicts=choice.verdicts, now=now)
                return host, ""
    machines.note_placement(machine=machine, verdicts=choice.verdicts, now=now)
    return None, choice.explain()


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

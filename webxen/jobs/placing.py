"""Finding a host for a machine and taking its memory, in the caller's transaction."""

from datetime import datetime

from webxen.core.errors import UserError
from webxen.inventory import operations as inventory
from webxen.inventory import queries
from webxen.inventory.models import Host
from webxen.inventory.placement import Choice, Need, choose_host
from webxen.machines.models import Machine

#: another request may take a host's last memory between looking and taking
ATTEMPTS = 5


class NoRoomError(UserError):
    """The host asked for cannot take the machine."""

    code = "NO_ROOM"


def need_of(machine: Machine) -> Need:
    disks, cards = list(machine.disks.all()), list(machine.interfaces.select_related("network"))
    return Need(
        memory_mib=machine.memory_mib,
        disk_mib=sum(disk.size_gib for disk in disks) * 1024,
        image_file=machine.image.file,
        image_sha256=machine.image.sha256,
        pool=disks[0].pool if disks else "local",
        bridge=cards[0].network.bridge if cards else "",
    )


def take_host(*, machine: Machine, wanted: str | None, now: datetime) -> tuple[Host | None, str]:
    """Choose a host and hold its memory; or None with the reason of every host."""
    need = need_of(machine)
    choice = Choice(None, {})
    for _ in range(ATTEMPTS):
        choice = choose_host(queries.figures(now=now), need, wanted=wanted)
        host = queries.host_named(name=choice.host) if choice.host else None
        if host is None:
            break
        if inventory.reserve_host_memory(host_id=host.id, memory_mib=need.memory_mib, now=now):
            return host, ""
    return None, choice.explain()

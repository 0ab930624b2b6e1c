"""Prefill the form for a new machine from an earlier request or machine, without the password."""

from uuid import UUID

from django.db.models import Q

from webxen.accounts.models import Project, User
from webxen.approvals import queries as requests
from webxen.approvals.models import MachineRequest
from webxen.inventory import queries as inventory
from webxen.machines import queries as machines
from webxen.machines.models import Machine
from webxen.web.forms import OWN_SIZE

MOST_NAME = 58


def asked_before(untrusted_id: str, user: User) -> dict[str, str] | None:
    """Return the form's fields by the id of a request or of a machine; None if it is not visible."""
    try:
        wanted = UUID(untrusted_id)
    except ValueError:
        return None
    request = requests.visible_to(user=user).filter(Q(id=wanted) | Q(machine_id=wanted)).first()
    if request is not None:
        return _of_request(request, user)
    machine = machines.visible_to(user=user).filter(id=wanted).first()
    machine = machine or machines.find_deleted(user=user, id=wanted)
    return None if machine is None else _of_machine(machine, user)


def _of_request(before: MachineRequest, user: User) -> dict[str, str]:
    return {
        **_common(before, user),
        "size": before.size.slug if before.size else OWN_SIZE,
        "network": before.network.name if before.network else "",
        "reason": before.reason,
    }


def _of_machine(before: Machine, user: User) -> dict[str, str]:
    """The fields of a machine without a request; its size is the listed one with these resources, if any."""
    card = before.interfaces.select_related("network").first()
    disk = before.disks.first()
    disk_gib = disk.size_gib if disk else 1
    sizes = inventory.sizes_visible_to(user=user)
    size = sizes.filter(vcpus=before.vcpus, memory_mib=before.memory_mib, disk_gib=disk_gib).first()
    return {
        **_common(before, user),
        "disk_gib": str(disk_gib),
        "size": size.slug if size else OWN_SIZE,
        "network": card.network.name if card else "",
    }


def _common(before: MachineRequest | Machine, user: User) -> dict[str, str]:
    return {
        "name": _free_name(before.name, user, before.project),
        "project": before.project.slug,
        "image": before.image.slug,
        "ssh_keys": user.last_ssh_keys,
        "vcpus": str(before.vcpus),
        "memory_mib": str(before.memory_mib),
        "disk_gib": str(getattr(before, "disk_gib", 1)),
    }


def _free_name(name: str, user: User, project: Project) -> str:
    """Return the name, or name-2, name-3 … if it is taken."""
    taken = set(machines.visible_to(user=user).filter(project=project).values_list("name", flat=True))
    taken |= requests.requested_names(project=project)
    others = (f"{name[:MOST_NAME]}-{number}" for number in range(2, len(taken) + 3))
    return next(one for one in (name, *others) if one not in taken)

"""Create, adopt and edit machines. Verbs that a host executes are in jobs."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction

from webxen.accounts.models import Project, User
from webxen.core import audit
from webxen.core.errors import InvalidError, UserError
from webxen.core.messages import Message
from webxen.inventory import operations as inventory
from webxen.inventory.models import Host, Image, Network
from webxen.inventory.placement import Verdict
from webxen.machines import lifecycle, queries
from webxen.machines.models import Disk, Interface, Machine
from webxen.machines.naming import NameTakenError, check_name, taken
from worker import contract

#: maximum characters of a changed value in the audit
IN_AUDIT = 200
MAX_DESCRIPTION = 2000
MAX_TAGS = 20
MAX_TAG = 40
#: placement results that are stored: the chosen host, the next best, and reasons of refusals
MAX_VERDICTS = 30


class PartMissingError(UserError):
    """An image or network that the machine uses is not in the database."""

    code = "PART_MISSING"


@transaction.atomic
def register(
    *,
    id: UUID,
    project: Project,
    owner: User,
    name: str,
    image: Image,
    network: Network | None,
    vcpus: int,
    memory_mib: int,
    disk_gib: int,
    seed: Mapping[str, Any],
    now: datetime,
) -> Machine:
    """Create a machine, PENDING until a host is found, with its disk, interface and address.

    Raises NameTakenError, NoAddressError, RestoredError.
    """
    try:
        with transaction.atomic():
            machine = Machine.objects.create(
                id=id,
                name=name,
                project=project,
                owner=owner,
                image=image,
                state=Machine.State.PENDING,
                vcpus=vcpus,
                memory_mib=memory_mib,
                seed=dict(seed),
                fence=1,
                created_at=now,
            )
    except IntegrityError:
        raise NameTakenError(taken(name=name, project=project.name)) from None
    Disk.objects.create(machine=machine, size_gib=disk_gib, vdev=image.vdev)
    if network is not None:
        address = inventory.give_address(network=network, holder=machine.id, now=now)
        Interface.objects.create(machine=machine, network=network, mac=address.mac, ipv4=address.ipv4)
    return machine


@transaction.atomic
def adopt(
    *,
    receipt: contract.Receipt,
    project: Project,
    owner: User,
    host: Host,
    power: str,
    created_at: datetime,
    now: datetime,
) -> Machine:
    """Create the row of a machine that already exists on a host; its state is BUILDING until changed.

    Raises InvalidError, NameTakenError, AddressHeldError, PartMissingError.
    """
    image = _image(receipt)
    try:
        with transaction.atomic():
            machine = Machine.objects.create(
                id=UUID(receipt.machine_id),
                name=check_name(receipt.name),
                project=project,
                owner=owner,
                host=host,
                image=image,
                power=power,
                power_seen_at=host.observed_at,
                vcpus=receipt.vcpus,
                memory_mib=receipt.memory_mib,
                fence=receipt.fence,
                created_at=created_at,
            )
    except IntegrityError:
        raise NameTakenError(taken(name=receipt.name, project=project.name)) from None
    for disk in receipt.disks:
        Disk.objects.create(
            id=UUID(disk.id), machine=machine, pool=disk.pool, size_gib=disk.size_gib, vdev=disk.vdev
        )
    for nic in receipt.nics:
        _adopt_nic(machine, nic, now)
    return machine


def _image(receipt: contract.Receipt) -> Image:
    image = Image.objects.filter(slug=receipt.image).first()
    if image is None:
        raise PartMissingError(Message("IMAGE_NOT_REGISTERED", name=receipt.image))
    return image


def _adopt_nic(machine: Machine, nic: contract.NicReceipt, now: datetime) -> None:
    network = Network.objects.filter(name=nic.network).first()
    if network is None:
        raise PartMissingError(Message("NETWORK_NOT_REGISTERED", name=nic.network))
    if nic.ipv4:
        inventory.hold_address(network=network, ipv4=nic.ipv4, mac=nic.mac, holder=machine.id, now=now)
    Interface.objects.create(machine=machine, network=network, mac=nic.mac, ipv4=nic.ipv4 or None)


def put_disks(*, machine: Machine, pool: str, now: datetime) -> None:
    """Set the pool of a pending machine's disks; without effect once they are made."""
    if machine.state == Machine.State.PENDING:
        machine.disks.exclude(pool=pool).update(pool=pool)


def rename(*, user: User, machine_id: UUID, name: object, now: datetime) -> Machine:
    """Change a machine's name, see edit."""
    return edit(user=user, machine_id=machine_id, name=name, now=now)


def describe(
    *, user: User, machine_id: UUID, description: object = None, tags: object = None, now: datetime
) -> Machine:
    """Change a machine's description or tags, see edit."""
    return edit(user=user, machine_id=machine_id, description=description, tags=tags, now=now)


@transaction.atomic
def edit(
    *,
    user: User,
    machine_id: UUID,
    name: object = None,
    description: object = None,
    tags: object = None,
    now: datetime,
) -> Machine:
    """Change name, description and tags; None keeps the value. Return the machine.

    The domain gets a new name at its next start. Raises NotFoundError, InvalidError, NameTakenError.
    """
    machine = queries.get_visible(user=user, id=machine_id)
    changes: dict[str, Any] = {}
    if name is not None:
        changes["name"] = check_name(name)
    if description is not None:
        changes["description"] = _check_description(description)
    if tags is not None:
        changes["tags"] = _check_tags(tags)
    changes = {field: value for field, value in changes.items() if getattr(machine, field) != value}
    if not changes:
        return machine
    try:
        with transaction.atomic():
            Machine.objects.filter(id=machine.id).update(**changes)
    except IntegrityError:
        raise NameTakenError(taken(name=str(name), project=machine.project.name)) from None
    audit.record(
        actor=user,
        action="EDIT_MACHINE",
        target_kind="machine",
        target_id=str(machine.id),
        target_name=machine.name,
        detail=", ".join(f"{field}: {_in_audit(value)}" for field, value in changes.items()),
        now=now,
    )
    lifecycle.tell(machine=machine)
    return queries.get_visible(user=user, id=machine_id)


def _in_audit(value: object) -> str:
    """The value as JSON, shortened, so that no user text hides another change or looks like one."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= IN_AUDIT else f"{text[:IN_AUDIT]}…"


def note_placement(*, machine: Machine, verdicts: Sequence[Verdict], now: datetime) -> None:
    """Store placement's results for staff, if they changed: pending machines are placed again often."""
    kept = [
        {"host": verdict.host, "code": verdict.code, "numbers": dict(verdict.numbers)}
        for verdict in verdicts[:MAX_VERDICTS]
    ]
    if machine.placement != kept:
        Machine.objects.filter(id=machine.id).update(placement=kept)
        machine.placement = kept


def _check_description(untrusted: object) -> str:
    if isinstance(untrusted, str) and len(untrusted) <= MAX_DESCRIPTION and "\0" not in untrusted:
        return untrusted.strip()
    why = Message("DESCRIPTION_INVALID", max_length=MAX_DESCRIPTION)
    raise InvalidError(why, fields={"description": [why]})


def _check_tags(untrusted: object) -> list[str]:
    if isinstance(untrusted, Sequence) and not isinstance(untrusted, str) and len(untrusted) <= MAX_TAGS:
        good = [tag.strip() for tag in untrusted if isinstance(tag, str) and _is_tag(tag.strip())]
        if len(good) == len(untrusted):
            return sorted(set(good))
    why = Message("TAGS_INVALID", max_count=MAX_TAGS, max_length=MAX_TAG)
    raise InvalidError(why, fields={"tags": [why]})


def _is_tag(tag: str) -> bool:
    return 0 < len(tag) <= MAX_TAG and tag.isprintable()

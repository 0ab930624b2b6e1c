"""Take back machines that hosts have and the database has lost: rows are created, hosts are not changed.

The configuration comes from a receipt that this portal signed; host and power come from the host's
observation. A host cannot invent a machine that the portal never ordered there.
"""

import dataclasses
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db import transaction

from webxen.accounts import queries as accounts
from webxen.accounts.models import Project, User
from webxen.core import audit
from webxen.core.errors import ForbiddenError, NotFoundError, UserError
from webxen.core.messages import Message
from webxen.inventory import operations as inventory
from webxen.inventory import queries as hosts
from webxen.inventory import restores
from webxen.inventory.models import Host
from webxen.jobs import evidence, ledger
from webxen.machines import lifecycle
from webxen.machines import operations as machines
from webxen.machines.lifecycle import Event
from webxen.machines.models import Machine
from webxen.quotas import operations as quotas
from worker import contract

WHY = Message("WHY_READOPTED")


class NotReadoptableError(UserError):
    """The machine cannot be taken back; the message says what is missing."""

    code = "NOT_READOPTABLE"


@dataclass(frozen=True)
class Changed:
    """Values to use instead of those in the receipt; "": unchanged."""

    name: str = ""
    project: str = ""
    owner: str = ""


def missing() -> list[UUID]:
    """Ids of machines that hosts have, with a receipt, and the database has not; oldest first."""
    having = [seen.machine_id for seen in restores.receipts() if _has(seen.host, seen.machine_id)]
    shown = list(dict.fromkeys(having))
    known = set(Machine.objects.filter(id__in=shown).values_list("id", flat=True))
    return [machine_id for machine_id in shown if machine_id not in known]


@transaction.atomic
def readopt(*, staff: User, machine_id: UUID, changed: Changed = Changed(), now: datetime) -> Machine:
    """Create the machine's rows again, with disks, addresses and quota, as its host reports it.

    Project quotas may be exceeded, because the machine exists already. Raises ForbiddenError, NotFoundError,
    NotReadoptableError, InvalidError, NameTakenError, AddressHeldError, PartMissingError.
    """
    if not staff.is_staff:
        raise ForbiddenError(Message("ONLY_STAFF_READOPTS"))
    if Machine.objects.filter(id=machine_id).exists():
        raise NotReadoptableError(Message("DATABASE_HAS_MACHINE"))
    host, receipt = _find(machine_id, now)
    if receipt.order == contract.DeleteMachine.kind:
        raise NotReadoptableError(Message("WAS_BEING_DELETED", name=receipt.name, host=host.name))
    receipt = dataclasses.replace(
        receipt,
        name=changed.name or receipt.name,
        project=changed.project or receipt.project,
        owner=changed.owner or receipt.owner,
    )
    return _write_down(staff, host, receipt, now)


def _find(machine_id: UUID, now: datetime) -> tuple[Host, contract.Receipt]:
    """Return the one host that has the machine, and its newest receipt."""
    shown = restores.receipts_of(machine_id=machine_id)
    if not shown:
        raise NotFoundError(Message("NO_RECEIPT"))
    if domains := [host.name for host in hosts.accepted_hosts() if _domain_of(host, machine_id)][1:]:
        raise NotReadoptableError(Message("DOMAIN_ON_ANOTHER_HOST", hosts=domains))
    having = [seen for seen in shown if _has(seen.host, machine_id)]
    if not having:
        raise NotReadoptableError(Message("RECEIPT_WITHOUT_FILES"))
    seen = having[0]
    if hosts.is_silent(host=seen.host, now=now):
        raise NotReadoptableError(Message("RECEIPT_HOST_SILENT", host=seen.host.name))
    try:
        return seen.host, evidence.open_receipt(text=seen.text, host=seen.host.name)
    except contract.BadEnvelope:
        raise NotReadoptableError(Message("RECEIPT_KEY_LOST")) from None


def _has(host: Host, machine_id: UUID) -> bool:
    return (
        str(machine_id) in (host.holdings or {}).get("machines", [])
        or _domain_of(host, machine_id) is not None
    )


def _domain_of(host: Host, machine_id: UUID) -> dict[str, Any] | None:
    return next((seen for seen in host.domains or [] if seen.get("uuid") == str(machine_id)), None)


def _power_of(host: Host, machine_id: UUID) -> str:
    if host.domains is None:
        return Machine.Power.UNKNOWN
    domain = _domain_of(host, machine_id)
    return Machine.Power(domain["power"]) if domain else Machine.Power.OFF


def _write_down(staff: User, host: Host, receipt: contract.Receipt, now: datetime) -> Machine:
    machine_id = UUID(receipt.machine_id)
    power = _power_of(host, machine_id)
    project, owner = _project(receipt), _owner(receipt)
    quotas.reserve(
        project=project,
        holder=machine_id,
        vcpus=receipt.vcpus,
        memory_mib=receipt.memory_mib,
        disk_gib=sum(disk.size_gib for disk in receipt.disks),
        is_running=power in ledger.ON,
        is_observed=True,
        why=WHY,
        now=now,
    )
    machine = machines.adopt(
        receipt=receipt,
        project=project,
        owner=owner,
        host=host,
        power=power,
        created_at=datetime.fromtimestamp(receipt.created_at, UTC),
        now=now,
    )
    inventory.hold_host_memory(host_id=host.id, memory_mib=receipt.memory_mib, now=now)
    quotas.commit(holder=machine_id, why=WHY, now=now)
    lifecycle.move(machine=machine, event=Event.BUILT, actor=staff, why=WHY, now=now)
    audit.record(
        actor=staff,
        action="READOPT_MACHINE",
        target_kind="machine",
        target_id=str(machine_id),
        target_name=machine.name,
        detail=_describe(project, owner, host, power, receipt),
        now=now,
    )
    return machine


def _describe(project: Project, owner: User, host: Host, power: str, receipt: contract.Receipt) -> Message:
    return Message(
        "READOPTED_AS",
        project=project.slug,
        owner=owner.username,
        host=host.name,
        power=power,
        number=receipt.fence,
    )


def _project(receipt: contract.Receipt) -> Project:
    found = accounts.project_named(slug=receipt.project)
    if found is None:
        raise NotReadoptableError(Message("PROJECT_NOT_FOUND", name=receipt.project))
    return found


def _owner(receipt: contract.Receipt) -> User:
    found = accounts.person_named(username=receipt.owner)
    if found is None:
        raise NotReadoptableError(Message("PERSON_NOT_FOUND", name=receipt.owner))
    return found

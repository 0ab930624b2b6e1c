"""Build the contract messages of jobs from rows. Pure."""

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

from webxen.inventory.models import Image
from webxen.jobs.models import Job
from webxen.machines.models import Disk, Interface, Machine
from webxen.machines.naming import domain_name
from worker import contract


class UnknownKind(Exception):
    """The portal has no verb of this kind: the job was created by an older or newer version."""


def verb_of(kind: str) -> contract.Verb:
    """Return the verb of a job's kind. Raises UnknownKind."""
    if kind not in contract.JOB_KINDS:
        raise UnknownKind(f"this portal has no verb {kind}")
    return contract.VERBS[kind]


def order_for(
    job: Job, machine: Machine, disks: Sequence[Disk], interfaces: Sequence[Interface]
) -> contract.Order:
    """Return the order of this job, or its cancellation; `interfaces` come with their network.

    Raises UnknownKind.
    """
    spec = machine_spec(machine, disks, interfaces)
    if job.cancel_asked_at is not None:
        return cancel_order(job, machine, disks, interfaces)
    verb = verb_of(job.kind)
    if verb.order is contract.CreateMachine:
        return contract.CreateMachine(
            job_id=str(job.id),
            fence=job.fence,
            machine=spec,
            deadline_seconds=verb.deadline_seconds,
            seed=seed_spec(machine.name, machine.seed or {}),
        )
    if verb.order is contract.StartMachine:
        return contract.StartMachine(
            job_id=str(job.id),
            fence=job.fence,
            machine=spec,
            deadline_seconds=verb.deadline_seconds,
            takes_over_from=job.takes_over_from,
        )
    return verb.order(
        job_id=str(job.id), fence=job.fence, machine=spec, deadline_seconds=verb.deadline_seconds
    )


def cancel_order(
    job: Job, machine: Machine, disks: Sequence[Disk], interfaces: Sequence[Interface]
) -> contract.CancelJob:
    """Return the cancellation of a job."""
    spec = machine_spec(machine, disks, interfaces)
    return contract.CancelJob(job_id=str(job.id), fence=job.fence, machine=spec)


def receipt_of(
    order: contract.Order,
    machine: Machine,
    disks: Sequence[Disk],
    interfaces: Sequence[Interface],
    *,
    at: int,
) -> contract.Receipt:
    """Return the receipt of the machine that the portal signs, to recognize an older database later."""
    return contract.Receipt(
        machine_id=str(machine.id),
        order=order.kind,
        fence=order.fence,
        at=at,
        created_at=int(machine.created_at.timestamp()),
        name=machine.name,
        project=machine.project.slug,
        owner=machine.owner.username,
        image=machine.image.slug,
        vcpus=machine.vcpus,
        memory_mib=machine.memory_mib,
        disks=tuple(
            contract.DiskReceipt(str(disk.id), disk.pool, disk.size_gib, disk.vdev) for disk in disks
        ),
        nics=tuple(
            contract.NicReceipt(card.network.name, card.network.bridge, card.mac, card.ipv4 or "")
            for card in interfaces
        ),
    )


def deadline_seconds(kind: str) -> int:
    """How long a host may take for such a job, in seconds, by its verb's row.

    An unknown kind has the longest deadline, so that it ends too.
    """
    verb = contract.VERBS.get(kind)
    return verb.deadline_seconds if verb else max(verb.deadline_seconds for verb in contract.VERBS.values())


def machine_spec(
    machine: Machine, disks: Sequence[Disk], interfaces: Sequence[Interface]
) -> contract.MachineSpec:
    return contract.MachineSpec(
        id=str(machine.id),
        domain=domain_name(name=machine.name, id=machine.id),
        vcpus=machine.vcpus,
        memory_mib=machine.memory_mib,
        disks=tuple(
            contract.DiskSpec(id=str(disk.id), pool=disk.pool, size_mib=disk.size_gib * 1024, vdev=disk.vdev)
            for disk in disks
        ),
        nics=tuple(nic_spec(interface) for interface in interfaces),
        image=image_spec(machine.image),
        type=cast("Literal['AUTO', 'PV', 'PVH']", machine.image.type),
    )


def nic_spec(interface: Interface) -> contract.NicSpec:
    network = interface.network
    return contract.NicSpec(
        mac=interface.mac,
        bridge=network.bridge,
        ipv4=interface.ipv4 or "",
        prefix=ipaddress.ip_network(network.cidr).prefixlen if interface.ipv4 else 0,
        gateway=network.gateway or "",
        nameserver=network.nameserver or "",
    )


def image_spec(image: Image) -> contract.ImageSpec:
    return contract.ImageSpec(
        file=image.file,
        sha256=image.sha256,
        format=cast("Literal['FILESYSTEM', 'TARBALL', 'DISK']", image.format),
        seed=cast("Literal['FILES', 'NOCLOUD', 'NONE']", image.seed),
        kernel=image.kernel,
        ramdisk=image.ramdisk,
        root=image.root,
        extra=image.extra,
        vdev=image.vdev,
    )


def seed_spec(hostname: str, seed: Mapping[str, Any]) -> contract.SeedSpec:
    return contract.SeedSpec(
        hostname=hostname,
        ssh_keys=tuple(seed.get("ssh_keys", ())),
        password_hash=seed.get("password_hash", ""),
        user_data=seed.get("user_data", ""),
    )

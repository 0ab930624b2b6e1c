"""Findings of `verify` about addresses. Pure; part of `compare`."""

from collections import defaultdict
from collections.abc import Iterator

from webxen.core.messages import Message
from webxen.diagnostics.findings import Finding
from webxen.diagnostics.snapshot import MachineRow, Picture


def find(picture: Picture) -> Iterator[Finding]:
    """Addresses that two machines use, that have no row, or whose machine is deleted."""
    users: dict[tuple[str, str], list[MachineRow]] = defaultdict(list)
    for machine in picture.machines:
        if machine.is_deleted:
            continue
        for bridge, ipv4, is_held in machine.addresses:
            users[bridge, ipv4].append(machine)
            if not is_held:
                said = Message("ADDRESS_NOT_HELD", name=machine.name, address=ipv4)
                yield Finding("ADDRESS_NOT_HELD", said, _hosts(machine), machine.name, machine.id)
    for (bridge, ipv4), sharing in users.items():
        if len(sharing) > 1:
            names = ", ".join(sorted(machine.name for machine in sharing))
            hosts = tuple(sorted({machine.host for machine in sharing if machine.host}))
            yield Finding(
                "ADDRESS_TWICE",
                Message("ADDRESS_TWICE", names=names, address=ipv4, bridge=bridge),
                hosts,
                names,
            )
    yield from _shown_addresses(picture)
    yield from _forgotten_addresses(picture)


def _shown_addresses(picture: Picture) -> Iterator[Finding]:
    """Addresses in use on a host that rows allocate to another machine."""
    users = {
        (bridge, ipv4): machine
        for machine in picture.machines
        if not machine.is_deleted
        for bridge, ipv4, _ in machine.addresses
    }
    for host in picture.looked:
        for machine_id, bridge, ipv4 in host.addresses:
            user = users.get((bridge, ipv4))
            if user is None or user.id == machine_id:
                continue
            receipt = host.receipts.get(machine_id)
            domain = next((one.domain for one in host.domains or () if one.uuid == machine_id), "")
            names = ", ".join(sorted((user.name, receipt.name if receipt else domain or machine_id)))
            said = Message("ADDRESS_TWICE", names=names, address=ipv4, bridge=bridge)
            yield Finding("ADDRESS_TWICE", said, tuple(sorted({host.name, *_hosts(user)})), names)


def _forgotten_addresses(picture: Picture) -> Iterator[Finding]:
    known = picture.known
    # a domain on a silent host may still use the address
    is_all_seen = all(not host.is_silent and host.domains is not None for host in picture.hosts)
    running = {domain.uuid for host in picture.looked for domain in host.domains or ()}
    shown = {machine_id for host in picture.hosts for machine_id, _, _ in host.addresses}
    for address in picture.addresses:
        machine = known.get(address.holder)
        if machine is not None and (machine.is_moving or not machine.is_deleted):
            continue
        said = Message(
            "ADDRESS_OF_DELETED", address=address.ipv4, network=address.network, fate=fate_of(machine)
        )
        yield Finding(
            "ADDRESS_OF_DELETED",
            said,
            (),
            machine.name if machine else "",
            address.holder,
            target=address.holder,
            is_safe=is_all_seen and address.holder not in running | shown,
        )


def _hosts(machine: MachineRow) -> tuple[str, ...]:
    return (machine.host,) if machine.host else ()


def fate_of(machine: MachineRow | None) -> Message:
    """Describe why the owner of a remnant is not an existing machine."""
    return Message("FATE_DELETED", name=machine.name) if machine else Message("FATE_UNKNOWN")

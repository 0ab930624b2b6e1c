"""Machines created by this portal that hosts have and the database does not. Pure; part of `compare`.

The evidence is a receipt of the portal that the host has kept. Without one (from before receipts existed),
the agent's files (a folder, a fencing token) still show that the domain was not started by hand.
"""

from collections.abc import Iterator

from webxen.core.messages import Message
from webxen.diagnostics.findings import Finding
from webxen.diagnostics.snapshot import HostLook, Picture
from worker.contract import Holdings

GONE = "DELETE"


def made_here(host: HostLook, machine_id: str) -> bool:
    """Whether the host's files show that this portal created the machine."""
    holdings = host.holdings or Holdings()
    return (
        machine_id in host.receipts
        or machine_id in holdings.machines
        or any(seen.machine_id == machine_id for seen in holdings.fences)
    )


def find(picture: Picture) -> Iterator[Finding]:
    """One finding for each such machine."""
    known = picture.known
    for host in picture.looked:
        for machine_id in _seen_on(host):
            if machine_id not in known and made_here(host, machine_id):
                yield _finding(host, machine_id)


def _seen_on(host: HostLook) -> list[str]:
    """Distinct ids of everything the host has a domain, a disk or files of."""
    holdings = host.holdings or Holdings()
    volumes = (volume.machine_id for volume in holdings.volumes)
    return list(dict.fromkeys([*(seen.uuid for seen in host.domains or ()), *volumes, *holdings.machines]))


def _finding(host: HostLook, machine_id: str) -> Finding:
    receipt = host.receipts.get(machine_id)
    power = _power_of(host, machine_id)
    if receipt is None:
        said = Message("MACHINE_MISSING_NO_RECEIPT", id=machine_id, host=host.name, state=power)
        return Finding("MACHINE_MISSING_HERE", said, (host.name,), machine_id, machine_id)
    said = Message(
        "MACHINE_MISSING_HERE",
        name=receipt.name,
        owner=receipt.owner,
        project=receipt.project,
        made_at=receipt.made,
        host=host.name,
        state=power,
    )
    command = "" if receipt.order == GONE else f"manage.py readopt {machine_id}"
    return Finding("MACHINE_MISSING_HERE", said, (host.name,), receipt.name, machine_id, command=command)


def _power_of(host: HostLook, machine_id: str) -> str:
    if host.domains is None:
        return "UNKNOWN"
    return next((seen.power for seen in host.domains if seen.uuid == machine_id), "OFF")

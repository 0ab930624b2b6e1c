"""Machines created by this portal that hosts have and the database does not. Pure; part of `compare`.

The evidence is a receipt of the portal that the host has kept. Without one (from before receipts existed),
the agent's files (a folder, a fencing token) still show that the domain was not started by hand.
"""

from collections.abc import Iterator

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
        said = (
            f"Machine {machine_id} was made by a portal and is missing here: {host.name} has no receipt of"
            f" it, and it is {power} there."
        )
        return Finding("MACHINE_MISSING_HERE", said, (host.name,), machine_id, machine_id)
    said = (
        f"{receipt.name} of {receipt.owner} in {receipt.project} was made by this portal on {receipt.made}"
        f" UTC and is missing here: on {host.name} it is {power}."
    )
    command = "" if receipt.order == GONE else f"manage.py readopt {machine_id}"
    return Finding("MACHINE_MISSING_HERE", said, (host.name,), receipt.name, machine_id, command=command)


def _power_of(host: HostLook, machine_id: str) -> str:
    if host.domains is None:
        return "unknown"
    return next((seen.power.lower() for seen in host.domains if seen.uuid == machine_id), "off")

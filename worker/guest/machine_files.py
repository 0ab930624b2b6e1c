"""The files that this host keeps of each machine: machine.json, the configuration, disks.

Records which disks belong to a machine before they are made, and removes exactly those. Domains are not
touched here, nor the console log, which consoled keeps for a day as evidence.
"""

import contextlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path

from worker import failpoints
from worker.contract import MachineSpec
from worker.files import read_bounded, write_durably
from worker.job.context import HostContext
from worker.job.order_checks import DISK_ID, POOL
from worker.settings import Settings

logger = logging.getLogger(__name__)

SEED_ISO = "seed.iso"
MAX_FACTS_BYTES = MAX_CONFIG_BYTES = 1 << 18


@dataclass(frozen=True)
class MachineFacts:
    """The content of machine.json."""

    id: str
    domain: str
    #: (pool, disk id)
    disks: tuple[tuple[str, str], ...]
    job_id: str


def seed_iso(settings: Settings, machine_id: str) -> Path:
    """Path of the machine's NOCLOUD image, whether or not it exists."""
    return settings.machine_dir(machine_id) / SEED_ISO


def write_facts(settings: Settings, machine: MachineSpec, *, job_id: str) -> None:
    """Write machine.json durably; consoled recognizes a machine's domain by it. Raises OSError."""
    settings.machine_dir(machine.id).mkdir(mode=0o700, exist_ok=True)
    failpoints.reach("a machine has a directory")
    values = {
        "id": machine.id,
        "domain": machine.domain,
        "disks": [[disk.pool, disk.id] for disk in machine.disks],
        "job_id": job_id,
    }
    write_durably(settings.machine_facts(machine.id), json.dumps(values).encode())


def read_facts(settings: Settings, machine_id: str) -> MachineFacts | None:
    """The content of machine.json, or None if it is missing, unreadable or another machine's."""
    try:
        values = json.loads(read_bounded(settings.machine_facts(machine_id), MAX_FACTS_BYTES))
        facts = MachineFacts(
            id=values["id"],
            domain=values["domain"],
            disks=tuple((str(pool), str(disk)) for pool, disk in values["disks"]),
            job_id=values["job_id"],
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    # These names become paths, so names that no order could contain are refused.
    is_plain = all(POOL.fullmatch(pool) and DISK_ID.fullmatch(disk) for pool, disk in facts.disks)
    return facts if facts.id == machine_id and is_plain else None


def keep_receipt(settings: Settings, machine: MachineSpec) -> None:
    """Keep the portal's newest receipt of a machine, also after the machine is deleted. Raises OSError.

    It shows a portal whose database was restored from a backup what it has ordered since.
    """
    if machine.receipt:
        write_durably(settings.receipt_file(machine.id), machine.receipt.encode())


def read_config(settings: Settings, machine_id: str) -> str:
    """The configuration as it was last written; "" if there is none."""
    try:
        return read_bounded(settings.machine_config(machine_id), MAX_CONFIG_BYTES).decode()
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        logger.warning("the configuration of machine %s cannot be read: %s", machine_id, error)
        return ""


def has_disks(dom0: HostContext, machine: MachineSpec) -> bool:
    """Whether all disks of the machine exist in their pools. Raises WorkerError."""
    pools = [(dom0.pools.find(disk.pool), disk.id) for disk in machine.disks]
    return all(pool.exists(machine.id, disk_id) for pool, disk_id in pools)


def remove(dom0: HostContext, machine_id: str, disks: tuple[tuple[str, str], ...]) -> None:
    """Remove these disks of a machine, then its files. Idempotent. Raises WorkerError and OSError."""
    for pool, disk_id in disks:
        dom0.pools.find(pool).remove(machine_id, disk_id)
    forget(dom0, machine_id)


def forget(dom0: HostContext, machine_id: str) -> None:
    """Remove this host's files of a machine. Its disks stay, and may belong to another host now."""
    settings = dom0.settings
    seed_iso(settings, machine_id).unlink(missing_ok=True)
    settings.machine_config(machine_id).unlink(missing_ok=True)
    failpoints.reach("a configuration is gone")
    _remove_partials(settings, machine_id)
    # Last: while it exists, a second attempt knows what is left to remove.
    settings.machine_facts(machine_id).unlink(missing_ok=True)
    failpoints.reach("what was known of a machine is gone")
    _remove_directory(settings, machine_id)


def forget_job(dom0: HostContext, machine_id: str, *, job_id: str) -> None:
    """Remove the files if this job wrote them; another job's files stay."""
    facts = read_facts(dom0.settings, machine_id)
    if facts is not None and facts.job_id == job_id:
        forget(dom0, machine_id)
    elif not dom0.settings.machine_facts(machine_id).exists():  # killed before machine.json was written
        _remove_partials(dom0.settings, machine_id)
        _remove_directory(dom0.settings, machine_id)


def _remove_partials(settings: Settings, machine_id: str) -> None:
    # left by a worker that died while it wrote
    for partial in settings.machine_dir(machine_id).glob(".*.new"):
        partial.unlink(missing_ok=True)


def _remove_directory(settings: Settings, machine_id: str) -> None:
    """Remove the machine's directory if it is empty."""
    with contextlib.suppress(FileNotFoundError, OSError):
        settings.machine_dir(machine_id).rmdir()


def machine_ids(settings: Settings) -> tuple[str, ...]:
    """Ids of machines that have a directory or disks here, running or not."""
    found: set[str] = set()
    for directory in (settings.machines_dir, settings.disks_dir):
        with contextlib.suppress(FileNotFoundError):
            found.update(path.name for path in directory.iterdir() if path.is_dir())
    return tuple(sorted(found))

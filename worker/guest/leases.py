"""A machine's leases: may this host open its disks in the pools that several hosts see?

Lives here: taking, offering, withdrawing and releasing them, for all of a machine's pools, and
showing or hiding the disks on this host. A pool of this host's own has no leases and nothing happens
for it. How a lease is kept is `storage.lease_store`, the rule of who may take it `storage.lease`.
"""

import logging
import time

from worker import storage
from worker.contract import MachineSpec
from worker.errors import LeaseHeld, LeaseUnreadable, WorkerError
from worker.job.context import HostContext
from worker.storage import Pool, lease
from worker.storage.lease import Lease
from worker.storage.lease_store import LeaseStore
from worker.storage.shared_file import SharedFilePool

logger = logging.getLogger(__name__)


def take(dom0: HostContext, machine: MachineSpec, *, fence: int, takes_over_from: str = "") -> None:
    """Make this host the owner, or raise LeaseHeld with who is. Twice is harmless.

    `takes_over_from`: a host that is proven to be off.
    """
    host = dom0.settings.host
    # All are looked at before one is written: half a machine must not change hands.
    found = [(pool, book, _read(book, machine)) for pool, book in _books(dom0, machine)]
    for pool, _, known in found:
        why = lease.why_not(known, host=host, fence=fence, takes_over_from=takes_over_from)
        if why:
            raise _held(pool, machine, why)
    for _, book, known in found:
        if known is None or (known.owner, known.fence) != (host, fence) or known.heir or known.is_released:
            _write(book, Lease(machine.id, host, fence, at=int(time.time())))
        if takes_over_from:
            book.forget_turn(takes_over_from)


def check(dom0: HostContext, machine: MachineSpec) -> None:
    """Raise LeaseHeld unless this host is the owner; nothing is written."""
    host = dom0.settings.host
    for pool, book in _books(dom0, machine):
        known = _read(book, machine)
        if known is None or known.owner != host or known.is_released:
            why = "nobody holds them" if known is None else lease.describe(known)
            raise _held(pool, machine, why)


def look(dom0: HostContext, machine: MachineSpec) -> tuple[Lease, ...]:
    """What is written down, one lease a shared pool: evidence."""
    found = (_read(book, machine) for _, book in _books(dom0, machine))
    return tuple(known for known in found if known is not None)


def offer(dom0: HostContext, machine: MachineSpec, *, fence: int, heir: str) -> None:
    """Let `heir` take the disks with an order of this fence; until then they are ours."""
    check(dom0, machine)
    for _, book in _books(dom0, machine):
        _write(book, Lease(machine.id, dom0.settings.host, fence, heir=heir, at=int(time.time())))


def withdraw(dom0: HostContext, machine: MachineSpec) -> None:
    """Nobody may take them any more. Raises LeaseHeld when the heir has: then they are not ours."""
    check(dom0, machine)
    for _, book in _books(dom0, machine):
        known = _read(book, machine)
        if known is not None and known.heir:
            _write(book, Lease(machine.id, known.owner, known.fence, at=int(time.time())))


def release(dom0: HostContext, machine: MachineSpec, *, fence: int) -> None:
    """Nobody owns them: any host may take them with an order of this fence or a newer one."""
    check(dom0, machine)
    for _, book in _books(dom0, machine):
        _write(book, Lease(machine.id, dom0.settings.host, fence, is_released=True, at=int(time.time())))


def make_visible(dom0: HostContext, machine: MachineSpec) -> bool:
    """Show the disks to this host, without a lease. False: they cannot be seen from here."""
    try:
        for pool, book in _books(dom0, machine):
            pool.make_visible(machine.id)
            book.read(machine.id)  # known then, its place costs a move's blackout no search
        disks = [(storage.find_pool(dom0.settings, disk.pool), disk.id) for disk in machine.disks]
        return all(pool.path(machine.id, disk_id).exists() for pool, disk_id in disks)
    except (WorkerError, OSError) as error:
        logger.warning("the disks of machine %s cannot be seen: %s", machine.id, error)
        return False


def let_go(dom0: HostContext, machine: MachineSpec) -> None:
    """Hide them again once no domain here has them open. Removes nothing.

    A volume that stays is no danger: it is refreshed before it is opened again.
    """
    for pool, _ in _books(dom0, machine):
        try:
            pool.let_go(machine.id)
        except (WorkerError, OSError) as error:
            logger.warning("the disks of machine %s stay visible here: %s", machine.id, error)


def can_change_hands_running(dom0: HostContext, machine: MachineSpec) -> bool:
    """May two hosts have the disks open for the moment in which a move's GO passes?

    Files are served through a loop device and the host's page cache, and the source's is open until the
    target runs: the target could read what was there before the source's last writes. Volumes are
    served past every cache.
    """
    return not any(isinstance(pool, SharedFilePool) for pool in _pools(dom0, machine))


def _pools(dom0: HostContext, machine: MachineSpec) -> list[Pool]:
    names = dict.fromkeys(disk.pool for disk in machine.disks)
    return [storage.find_pool(dom0.settings, name) for name in names]


def _books(dom0: HostContext, machine: MachineSpec) -> list[tuple[Pool, LeaseStore]]:
    return [(pool, pool.leases) for pool in _pools(dom0, machine) if pool.leases is not None]


def _read(book: LeaseStore, machine: MachineSpec) -> Lease | None:
    try:
        return book.read(machine.id)
    except OSError as error:
        raise _unreadable(error) from error


def _write(book: LeaseStore, record: Lease) -> None:
    try:
        book.write(record)
    except OSError as error:
        raise _unreadable(error) from error


def _held(pool: Pool, machine: MachineSpec, why: str) -> LeaseHeld:
    return LeaseHeld(
        f"This host may not open the disks of {machine.domain} in the pool {pool.name}: {why}. Nothing was"
        " started; if that host is off for good, an administrator says so and starts the machine elsewhere."
    )


def _unreadable(error: OSError) -> LeaseUnreadable:
    return LeaseUnreadable(
        f"The lease of the machine's disks cannot be read or written ({error.strerror}), so nothing was"
        " started. Try again; if it stays, tell an administrator."
    )

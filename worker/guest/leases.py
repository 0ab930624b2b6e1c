"""The leases of a machine's disks in shared pools: whether this host may open the disks.

Takes, offers, withdraws and releases them for all pools of a machine, and shows or hides the disks on this
host. A pool that only this host sees has no leases, and these functions do nothing for it. Leases are stored
by `storage.lease_store`; who may take one is decided in `storage.lease`.
"""

import logging
import time

from worker.contract import MachineSpec
from worker.errors import LeaseHeld, LeaseUnreadable, WorkerError
from worker.job.context import HostContext
from worker.storage import Pool, lease
from worker.storage.lease import Lease
from worker.storage.lease_store import LeaseStore
from worker.storage.shared_file import SharedFilePool

logger = logging.getLogger(__name__)


def take(dom0: HostContext, machine: MachineSpec, *, fence: int, takes_over_from: str = "") -> None:
    """Make this host the owner. Idempotent. Raises LeaseHeld, which names the owner, and LeaseUnreadable.

    `takes_over_from` is a host that is proven to be off.
    """
    host = dom0.settings.host
    # All are checked before one is written, so that a machine's disks do not get different owners.
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
    """Raises LeaseHeld unless this host is the owner. Writes nothing."""
    host = dom0.settings.host
    for pool, book in _books(dom0, machine):
        known = _read(book, machine)
        if known is None or known.owner != host or known.is_released:
            why = "nobody holds them" if known is None else lease.describe(known)
            raise _held(pool, machine, why)


def look(dom0: HostContext, machine: MachineSpec) -> tuple[Lease, ...]:
    """The stored leases, one per shared pool. Raises LeaseUnreadable."""
    found = (_read(book, machine) for _, book in _books(dom0, machine))
    return tuple(known for known in found if known is not None)


def offer(dom0: HostContext, machine: MachineSpec, *, fence: int, heir: str) -> None:
    """Allow `heir` to take the disks with an order of this fencing number; until then this host owns them."""
    check(dom0, machine)
    for _, book in _books(dom0, machine):
        _write(book, Lease(machine.id, dom0.settings.host, fence, heir=heir, at=int(time.time())))


def withdraw(dom0: HostContext, machine: MachineSpec) -> None:
    """Withdraw an offer. Raises LeaseHeld when the other host has already taken the disks."""
    check(dom0, machine)
    for _, book in _books(dom0, machine):
        known = _read(book, machine)
        if known is not None and known.heir:
            _write(book, Lease(machine.id, known.owner, known.fence, at=int(time.time())))


def release(dom0: HostContext, machine: MachineSpec, *, fence: int) -> None:
    """Release the disks: any host may take them with an order of this fencing number or a newer one."""
    check(dom0, machine)
    for _, book in _books(dom0, machine):
        _write(book, Lease(machine.id, dom0.settings.host, fence, is_released=True, at=int(time.time())))


def make_visible(dom0: HostContext, machine: MachineSpec) -> bool:
    """Activate the disks on this host, without a lease. Returns whether all of them can be seen."""
    try:
        for pool, book in _books(dom0, machine):
            pool.make_visible(machine.id)
            # caches its slot, so that a migration does not search for it while the guest is paused
            book.read(machine.id)
        disks = [(dom0.pools.find(disk.pool), disk.id) for disk in machine.disks]
        return all(pool.path(machine.id, disk_id).exists() for pool, disk_id in disks)
    except (WorkerError, OSError) as error:
        logger.warning("the disks of machine %s cannot be seen: %s", machine.id, error)
        return False


def let_go(dom0: HostContext, machine: MachineSpec) -> None:
    """Deactivate the disks once no domain here has them open. Removes nothing.

    A volume that stays active is harmless: it is refreshed before it is opened again.
    """
    for pool, _ in _books(dom0, machine):
        try:
            pool.let_go(machine.id)
        except (WorkerError, OSError) as error:
            logger.warning("the disks of machine %s stay visible here: %s", machine.id, error)


def can_change_hands_running(dom0: HostContext, machine: MachineSpec) -> bool:
    """Whether two hosts may have the disks open at the moment in which a migration's GO passes.

    Files are served through a loop device and the host's page cache, and the source's stays open until the
    target runs: the target could read data older than the source's last writes. Logical volumes bypass the
    cache.
    """
    return not any(isinstance(pool, SharedFilePool) for pool in _pools(dom0, machine))


def _pools(dom0: HostContext, machine: MachineSpec) -> list[Pool]:
    names = dict.fromkeys(disk.pool for disk in machine.disks)
    return [dom0.pools.find(name) for name in names]


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
    return LeaseHeld("DISKS_HELD_ELSEWHERE", machine=machine.domain, pool=pool.name, holder=why)


def _unreadable(error: OSError) -> LeaseUnreadable:
    return LeaseUnreadable("LEASE_IO_FAILED", error=error.strerror)

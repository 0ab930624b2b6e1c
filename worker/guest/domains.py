"""Domains of machines: found by uuid, never by name; created, destroyed and waited for.

Exit codes of xl are only hints; the list of domains decides. A list that cannot be read is "unknown". During
a guest's own reboot no domain is listed between the old and the new one; `settle` waits for the new one.
"""

import logging
import time
from pathlib import Path

from worker import errors
from worker.contract import Order, Power
from worker.job.context import HostContext, JobContext
from worker.xen import restart_watcher, xl

#: time between two calls of `xl list`, each of which costs a process on a host that may be slow
LOOK_INTERVAL_SECONDS = 0.5
DESTROY_SECONDS = 60.0
#: xl creates a rebooting guest's next domain after 2 s, and may have to wait for memory and other xl
#: processes
RESTART_SECONDS = 20.0
RESTART_INTERVAL_SECONDS = 0.2

logger = logging.getLogger(__name__)


def find(dom0: HostContext, machine_id: str) -> xl.Domain | None:
    """The machine's domain, or None if it is not in the list. Raises XlUnreadable."""
    try:
        return dom0.xl.domain(machine_id)
    except xl.XlError as error:
        raise errors.XlUnreadable("DOMAINS_NOT_LISTED") from error


def settle(dom0: HostContext, machine_id: str) -> xl.Domain | None:
    """The machine's domain, or None when it is off and no xl process will restart it. Raises XlUnreadable."""
    config = dom0.settings.machine_config(machine_id)
    until = time.monotonic() + RESTART_SECONDS
    while True:
        # In this order: once the watcher has gone, it makes no domain that is not listed by then.
        watcher = restart_watcher.find(config)
        domain = find(dom0, machine_id)
        is_between = domain is None or domain.is_rebooting or domain.is_half_made
        if watcher is None or not is_between:
            return domain
        if time.monotonic() > until:
            # It hangs, left behind by a worker that was killed. What it leaves is seen in the next pass.
            logger.warning("xl process %d brings no domain of %s and does not go: ended", watcher, machine_id)
            restart_watcher.end(watcher, config)
        time.sleep(RESTART_INTERVAL_SECONDS)


def power_of(domain: xl.Domain | None) -> Power:
    """The power of a domain; "OFF" for None."""
    return "OFF" if domain is None else domain.power


def is_up(domain: xl.Domain | None) -> bool:
    """Whether the domain runs or is paused."""
    return domain is not None and domain.power in ("RUNNING", "PAUSED")


def create(work: JobContext[Order], config: Path) -> None:
    """Run `xl create`. If it reports a failure, the list decides. Raises WorkerError."""
    limit = work.remaining("DOMAIN", at_most=xl.CREATE_SECONDS)
    try:
        work.dom0.xl.create(config, timeout_seconds=limit)
    except xl.XlTimedOut as error:
        raise errors.DeadlinePassed("XEN_START_TIMED_OUT") from error
    except xl.XlError as error:
        # xl may report an error although the domain runs.
        domain = find(work.dom0, work.machine.id)
        if domain is not None and domain.power == "RUNNING":
            return
        raise _explain(work, error) from error


def _explain(work: JobContext[Order], error: xl.XlError) -> errors.WorkerError:
    if isinstance(error, xl.DomainExists):
        return errors.NameTaken("DOMAIN_NAME_TAKEN", name=work.machine.domain)
    if isinstance(error, xl.NoMemory):
        return errors.NoMemory("HOST_LACKS_MEMORY", needed_mib=work.machine.memory_mib)
    return errors.XlFailed("XEN_START_FAILED")


def clear(work: JobContext[Order]) -> bool:
    """Remove an ended or dying domain of this machine. Returns whether a running one exists.

    Raises WorkerError.
    """
    domain = settle(work.dom0, work.machine.id)
    if domain is None or is_up(domain):
        return domain is not None
    limit = work.remaining("DOMAIN", at_most=DESTROY_SECONDS)
    if not domain.is_dying:
        destroy(work.dom0, work.machine.id, timeout_seconds=limit)
    elif not wait_gone(work.dom0, work.machine.id, domain.domid, timeout_seconds=limit):
        raise _stays()
    return False


def destroy(dom0: HostContext, machine_id: str, *, timeout_seconds: float = DESTROY_SECONDS) -> bool:
    """Destroy the domain, repeatedly if it comes back. Returns whether there was one. Raises WorkerError.

    A domain that was destroyed while xl was restarting it comes back, so the list is read again.
    """
    until = time.monotonic() + timeout_seconds
    was_there = False
    while (domain := settle(dom0, machine_id)) is not None:
        was_there = True
        _pull_plug(dom0, machine_id, domain.domid, seconds=max(0.0, until - time.monotonic()))
    return was_there


def _pull_plug(dom0: HostContext, machine_id: str, domid: int, *, seconds: float) -> None:
    try:
        dom0.xl.destroy(domid)
    except xl.XlError as error:
        # It has gone meanwhile, or xl reports an error although it worked: the list decides.
        if not wait_gone(dom0, machine_id, domid, timeout_seconds=min(5.0, seconds)):
            raise errors.XlFailed("XEN_STOP_FAILED") from error
        return
    if not wait_gone(dom0, machine_id, domid, timeout_seconds=seconds):
        raise _stays()


def _stays() -> errors.DomainWillNotGo:
    return errors.DomainWillNotGo("XEN_STILL_LISTS")


def wait_gone(dom0: HostContext, machine_id: str, domid: int, *, timeout_seconds: float) -> bool:
    """Wait until this domain is off the list; `xl shutdown -w` returns before its name is free."""
    until = time.monotonic() + timeout_seconds
    while (domain := find(dom0, machine_id)) is not None and domain.domid == domid:
        if time.monotonic() > until:
            return False
        time.sleep(LOOK_INTERVAL_SECONDS)
    return True

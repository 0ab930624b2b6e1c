"""Domains of our machines: found by uuid, never by name; made, ended and waited for.

Lives here: looking, `xl create` with its error cases, and waiting until a domain is gone. Exit codes
of xl are hints here; what is listed afterwards is the result. A list that cannot be read is "unknown".
"""

import time
from pathlib import Path

from worker import errors, xl
from worker.contract import Power
from worker.dom0 import Dom0, Work

#: between two looks at `xl list`; each costs a process on a host that may be slow
LOOK_INTERVAL_SECONDS = 0.5
DESTROY_SECONDS = 60.0


def find(dom0: Dom0, machine_id: str) -> xl.Domain | None:
    """The machine's domain, or None when the list was read and it is not there."""
    try:
        return dom0.xl.domain(machine_id)
    except xl.XlError as error:
        raise errors.XlUnreadable(
            "The host's list of domains cannot be read, so nothing was started or deleted. Try again or"
            " tell an administrator."
        ) from error


def power_of(domain: xl.Domain | None) -> Power:
    return "OFF" if domain is None else domain.power


def is_up(domain: xl.Domain | None) -> bool:
    return domain is not None and domain.power in ("RUNNING", "PAUSED")


def create(work: Work, config: Path) -> None:
    """`xl create`, believed only after a look when it says that it failed."""
    limit = work.remaining("DOMAIN", at_most=xl.CREATE_SECONDS)
    try:
        work.dom0.xl.create(config, timeout_seconds=limit)
    except xl.XlTimedOut as error:
        raise errors.DeadlinePassed(
            "Xen did not start the machine in time. Try again or tell an administrator."
        ) from error
    except xl.XlError as error:
        # xl may end with an error although the domain runs: the list decides.
        domain = find(work.dom0, work.machine.id)
        if domain is not None and domain.power == "RUNNING":
            return
        raise _explain(work, error) from error


def _explain(work: Work, error: xl.XlError) -> errors.WorkerError:
    if isinstance(error, xl.DomainExists):
        return errors.NameTaken(
            f"The host already runs a domain named {work.machine.domain}. Ask an administrator to remove it."
        )
    if isinstance(error, xl.NoMemory):
        return errors.NoMemory(
            f"The host has not enough free memory for {work.machine.memory_mib} MiB. Try again later or"
            " choose another host."
        )
    return errors.XlFailed("Xen could not start the machine. Tell an administrator.")


def clear(work: Work) -> bool:
    """Make sure that no ended or dying domain of this machine is in the way. Is there one that is up?"""
    domain = find(work.dom0, work.machine.id)
    if domain is None or is_up(domain):
        return domain is not None
    limit = work.remaining("DOMAIN", at_most=DESTROY_SECONDS)
    if not domain.is_dying:
        destroy(work.dom0, work.machine.id, timeout_seconds=limit)
    elif not wait_gone(work.dom0, work.machine.id, timeout_seconds=limit):
        raise _stays()
    return False


def destroy(dom0: Dom0, machine_id: str, *, timeout_seconds: float = DESTROY_SECONDS) -> bool:
    """Pull the plug and wait until the domain is gone. Whether there was one."""
    domain = find(dom0, machine_id)
    if domain is None:
        return False
    try:
        dom0.xl.destroy(domain.domid)
    except xl.XlError as error:
        # Gone meanwhile, or xl complains although it worked: the list decides.
        if not wait_gone(dom0, machine_id, timeout_seconds=min(5.0, timeout_seconds)):
            raise errors.XlFailed("Xen could not stop the machine. Tell an administrator.") from error
        return True
    if not wait_gone(dom0, machine_id, timeout_seconds=timeout_seconds):
        raise _stays()
    return True


def _stays() -> errors.DomainWillNotGo:
    return errors.DomainWillNotGo(
        "The machine was stopped but Xen still lists it. Try again; if it stays, tell an administrator."
    )


def wait_gone(dom0: Dom0, machine_id: str, *, timeout_seconds: float) -> bool:
    """Wait until the domain is off the list; `xl shutdown -w` returns before its name is free."""
    until = time.monotonic() + timeout_seconds
    while find(dom0, machine_id) is not None:
        if time.monotonic() > until:
            return False
        time.sleep(LOOK_INTERVAL_SECONDS)
    return True

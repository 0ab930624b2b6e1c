"""The verbs start, shut down, power off, reboot and delete.

Each checks the state first, so each may be run again after the worker was killed during it.
"""

import time

from worker import errors
from worker.contract import Order, Power
from worker.guest import boot, domains, machine_files, readiness
from worker.job.context import JobContext
from worker.xen import xl

#: how long a boot without a login prompt is watched; such a guest counts as running
PROMPT_SECONDS = 150.0


def start(work: JobContext[Order]) -> Power:
    """Boot from the existing disks. Returns "RUNNING", also for a guest without a login prompt.

    Raises WorkerError.
    """
    if domains.is_up(domains.find(work.dom0, work.machine.id)) and "domain" not in work.entry.marks:
        boot.take_disks(work)
        return "RUNNING"
    if not machine_files.has_disks(work.dom0, work.machine):
        raise errors.MachineMissing("DISK_NOT_HERE")
    boot.take_disks(work)
    if machine_files.read_facts(work.dom0.settings, work.machine.id) is None:
        # Its disks are in a shared pool, and another host held the machine until now.
        machine_files.write_facts(work.dom0.settings, work.machine, job_id=work.order.job_id)
    path = boot.write_config(work)
    boot.start_domain(work, path)
    return _await_prompt(work)


def undo_start(work: JobContext[Order]) -> None:
    """Destroy a domain that this job made and that did not come up. Disks are not touched."""
    if "domain" in work.entry.marks:
        domains.destroy(work.dom0, work.machine.id)


def _await_prompt(work: JobContext[Order]) -> Power:
    # Time is kept back, so that "it runs, without a login prompt" can be reported before the deadline.
    until = min(boot.seconds_from_now(PROMPT_SECONDS), work.deadline - 10.0)
    boot.watch_login(work, until=until)
    domain = domains.find(work.dom0, work.machine.id)
    if not domains.is_up(domain):
        raise errors.GuestDied("ENDED_WHILE_BOOTING")
    return domains.power_of(domain)


def shutdown(work: JobContext[Order]) -> Power:
    """Ask the guest to power off and wait until its domain has gone. Returns "OFF". Raises WorkerError."""
    with work.step("SHUTDOWN"):
        domain = domains.settle(work.dom0, work.machine.id)
        if domain is None:
            return "OFF"
        _ask_to_go(work, domain)
    with work.step("GONE"):
        _wait_off(work, domain.domid)
    return "OFF"


def _ask_to_go(work: JobContext[Order], domain: xl.Domain) -> None:
    if domain.power == "PAUSED":
        raise errors.GuestIgnoredShutdown("PAUSED_CANNOT_SHUT_DOWN")
    if domain.power == "RUNNING":
        _ask(work, domain, "shutdown")


def _ask(work: JobContext[Order], domain: xl.Domain, verb: str) -> None:
    act = work.dom0.xl.shutdown if verb == "shutdown" else work.dom0.xl.reboot
    try:
        act(domain.domid)
    except xl.NoSuchDomain:
        return  # it ended by itself; the caller sees that in the list
    except xl.XlError as error:
        raise errors.XlFailed("XEN_COULD_NOT_ASK", job=verb.upper()) from error


def _wait_off(work: JobContext[Order], asked: int) -> None:
    while True:
        work.check_cancelled()
        domain = domains.settle(work.dom0, work.machine.id)
        if domain is None:
            return
        if not domains.is_up(domain) and not domain.is_dying:
            # The guest has ended, but its domain was not removed.
            domains.destroy(work.dom0, work.machine.id)
            return
        if domain.domid != asked:
            # It was rebooting when it was asked; its new domain has not received the request.
            _ask_to_go(work, domain)
            asked = domain.domid
        if time.monotonic() > work.deadline - domains.LOOK_INTERVAL_SECONDS:
            raise errors.GuestIgnoredShutdown("DID_NOT_SHUT_DOWN")
        time.sleep(domains.LOOK_INTERVAL_SECONDS)


def poweroff(work: JobContext[Order]) -> Power:
    """Destroy the domain. Disks stay. Returns "OFF". Raises WorkerError."""
    with work.step("DOMAIN"):
        domains.destroy(work.dom0, work.machine.id, timeout_seconds=work.remaining("DOMAIN", at_most=60.0))
    return "OFF"


def reboot(work: JobContext[Order]) -> Power:
    """Ask the guest to restart; wait for its new domain and login prompt. Returns its power.

    Raises WorkerError.
    """
    with work.step("REBOOT"):
        # A guest that is rebooting by itself is asked again once it is back, because the user wants a fresh
        # start.
        domain = domains.settle(work.dom0, work.machine.id)
        before = work.entry.marks.get("domid")
        if domain is not None:
            boot.take_disks(work)
        if before is None:
            if domain is None or domain.power != "RUNNING":
                raise errors.MachineOff("NOT_RUNNING_TO_REBOOT")
            before = str(domain.domid)
            start = readiness.size_of(work.dom0.settings.console_log(work.machine.id))
            work.mark(domid=before, console_start=str(start))
        work.console_start = int(work.entry.marks["console_start"])
        if domain is not None and str(domain.domid) == before:
            _ask(work, domain, "reboot")
    with work.step("DOMAIN"):
        _wait_other_domid(work, before)
    return _await_prompt(work)


def _wait_other_domid(work: JobContext[Order], before: str) -> None:
    while True:
        work.check_cancelled()
        domain = domains.find(work.dom0, work.machine.id)
        if domain is not None and str(domain.domid) != before:
            return
        if time.monotonic() > work.deadline - 15.0:
            break
        time.sleep(domains.LOOK_INTERVAL_SECONDS)
    if domain is None:
        raise errors.GuestDied("DID_NOT_COME_BACK")
    raise errors.GuestIgnoredReboot("DID_NOT_REBOOT")


def delete(work: JobContext[Order]) -> Power:
    """Destroy the domain, then remove the machine's disks and files. Returns "OFF". Raises WorkerError."""
    with work.step("DOMAIN"):
        domains.destroy(work.dom0, work.machine.id, timeout_seconds=work.remaining("DOMAIN", at_most=60.0))
    with work.step("DISK"):
        facts = machine_files.read_facts(work.dom0.settings, work.machine.id)
        ordered = [(disk.pool, disk.id) for disk in work.machine.disks]
        # the disks recorded when they were made, and those the portal knows of
        known = dict.fromkeys([*(facts.disks if facts is not None else ()), *ordered])
        machine_files.remove(work.dom0, work.machine.id, tuple(known))
    return "OFF"


def leave(work: JobContext[Order]) -> None:
    """Undo nothing: a job that stopped half-way is completed by a new order."""

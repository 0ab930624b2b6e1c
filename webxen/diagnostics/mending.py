"""Corrections of `verify --fix`: only database rows, each by a conditional UPDATE with an audit entry.

Never a disk, never a domain. The code that reports a finding decides whether it is safe to correct.
"""

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from django.db import IntegrityError, OperationalError

from webxen.accounts.models import User
from webxen.core import audit
from webxen.core.database import one_instant
from webxen.core.messages import Message, tell_all
from webxen.diagnostics import own_findings, quota_drift
from webxen.diagnostics.findings import Finding
from webxen.inventory import operations as inventory
from webxen.inventory.models import Host
from webxen.jobs.models import Job
from webxen.machines import lifecycle
from webxen.machines.models import Machine

MENDERS: dict[str, Callable[[Finding, User, datetime], str]] = {
    "POWER_WRONG": lambda finding, _, now: _mend_power(finding, now),
    "FENCE_BEHIND": lambda finding, _, now: _mend_fence(finding, now),
    "HOST_MEMORY_DRIFT": lambda finding, _, now: _mend_host_memory(finding, now),
    "ADDRESS_OF_DELETED": lambda finding, _, now: _mend_address(finding, now),
    "SEED_KEPT": lambda finding, *_: own_findings.drop_seed(machine_id=finding.target),
    "QUOTA_DRIFT": lambda _, staff, now: quota_drift.mend(staff=staff, now=now),
    "RESERVATION_LOST": lambda _, staff, now: quota_drift.mend(staff=staff, now=now),
}


def mend(finding: Finding, staff: User, now: datetime) -> str:
    """Correct one finding; return what was done, or "" if the row has changed since."""
    try:
        with one_instant(writes=True):
            said = MENDERS[finding.code](finding, staff, now)
            if said:
                _record(finding, said, staff, now)
    except (IntegrityError, OperationalError):
        # a constraint refused the value, or the row was changed meanwhile: found again next time
        return ""
    return said


def _record(finding: Finding, said: str, staff: User, now: datetime) -> None:
    kind = "machine" if finding.machine_id else "host" if finding.hosts else "project"
    audit.record(
        actor=staff,
        action=f"MEND_{finding.code}",
        target_kind=kind,
        target_id=finding.machine_id or finding.target,
        target_name=finding.machine or finding.target,
        detail=tell_all([finding.said, said]),
        now=now,
    )


def _mend_power(finding: Finding, now: datetime) -> str:
    machine = Machine.objects.get(id=finding.target)
    if Job.objects.filter(machine=machine, status__in=Job.OPEN).exists():
        return ""
    # An unchanged fencing token: nothing was requested since. The running quota follows with the next
    # observation.
    still = Machine.objects.filter(id=machine.id, fence=machine.fence)
    if not still.update(power=finding.value, power_seen_at=now):
        return ""
    lifecycle.tell(machine=machine)
    return Message("MENDED_POWER", name=machine.name, state=finding.value)


def _mend_fence(finding: Finding, now: datetime) -> str:
    behind = Machine.objects.filter(id=finding.target, fence__lt=int(finding.value))
    if not behind.update(fence=int(finding.value)):
        return ""
    lifecycle.tell(machine=Machine.objects.get(id=finding.target))
    return Message("MENDED_FENCE", name=finding.machine, number=finding.value)


def _mend_host_memory(finding: Finding, now: datetime) -> str:
    host = Host.objects.get(name=finding.target)
    holders = quota_drift.holders()
    held = sum(
        memory_mib
        for machine_id, memory_mib in Machine.objects.filter(host=host).values_list("id", "memory_mib")
        if machine_id in holders
    )
    was = int(finding.value)
    if not inventory.correct_host_memory(host_id=host.id, was_mib=was, is_mib=held, now=now):
        return ""
    return Message("MENDED_MEMORY", held_mib=held, host=host.name)


def _mend_address(finding: Finding, now: datetime) -> str:
    living = Machine.objects.exclude(state=Machine.State.DELETED).filter(id=finding.target)
    if living.exists():
        return ""
    inventory.release_addresses(holder=UUID(finding.target), now=now)
    return Message("MENDED_ADDRESS")

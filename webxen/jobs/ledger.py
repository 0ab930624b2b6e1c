"""Compare the quota ledger with machines, and update it from observed power.

quotas knows only numbers; running machines and open jobs are known here.
"""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import Sum

from webxen.core.messages import Message
from webxen.jobs import queries
from webxen.jobs.models import Job
from webxen.machines.models import Machine
from webxen.quotas import operations as quotas
from webxen.quotas import queries as quota_queries
from webxen.quotas.drift import Drift, Held

Power = Machine.Power
#: these occupy memory on the host; SUSPENDED is on disk; CRASHED may be either
ON = frozenset({Power.RUNNING, Power.PAUSED})
OFF = frozenset({Power.OFF, Power.SUSPENDED})


def counts_as_running(power: str) -> bool | None:
    """Whether the power counts as running; None if it does not tell."""
    return True if power in ON else False if power in OFF else None


def held_by_machines() -> dict[UUID, Held]:
    """Return what each existing machine should hold of its project's quota."""
    living = Machine.objects.exclude(state=Machine.State.DELETED)
    rows = list(living.defer("config").annotate(disk_gib=Sum("disks__size_gib")))
    busy = queries.ids_of_busy_machines()
    return {
        machine.id: Held(
            project_id=machine.project_id,
            name=machine.name,
            vcpus=machine.vcpus,
            memory_mib=machine.memory_mib,
            disk_gib=machine.disk_gib or 0,
            is_running=None if machine.id in busy else counts_as_running(machine.power),
            may_hold_nothing=machine.state == Machine.State.FAILED,
        )
        for machine in rows
    }


def drift() -> list[Drift]:
    """Return every difference between the ledger and the machines."""
    return quota_queries.drift(held_by_machines=held_by_machines())


def keep_running_true(*, machines: Iterable[Machine], now: datetime) -> None:
    """Update the running quota after an observation.

    Machines with an open job are left to the job's end. Machines are passed as they were when observed.
    """
    rows = [machine for machine in machines if counts_as_running(machine.power) is not None]
    counted = quota_queries.running_holders(holders=[machine.id for machine in rows])
    wrong = [row for row in rows if counted.get(row.id, row.power in ON) != (row.power in ON)]
    for machine in wrong:
        _keep_one(machine, now)


@transaction.atomic
def _keep_one(machine: Machine, now: datetime) -> None:
    if machine.power in ON:
        quotas.hold_running(holder=machine.id, is_observed=True, why=Message("WHY_SEEN_RUNNING"), now=now)
    else:
        quotas.release_running(holder=machine.id, why=Message("WHY_SEEN_OFF"), now=now)
    # An unchanged fencing token and no open job: nothing was requested since the observation.
    still = Machine.objects.filter(id=machine.id, fence=machine.fence, power=machine.power)
    if Job.objects.filter(machine=machine, status__in=Job.OPEN).exists() or not still.update(
        power=machine.power
    ):
        transaction.set_rollback(True)

"""The quota ledger beside the machines: what each should hold, and what an observed power means for it.

Numbers live in quotas; who is running and whose job is open is known here.
"""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import Sum

from webxen.jobs import queries
from webxen.jobs.models import Job
from webxen.machines.models import Machine
from webxen.quotas import operations as quotas
from webxen.quotas import queries as quota_queries
from webxen.quotas.drift import Drift, Held

Power = Machine.Power
#: its memory is taken on the host; SUSPENDED lies on the disk; a CRASHED one may be either
ON = frozenset({Power.RUNNING, Power.PAUSED})
OFF = frozenset({Power.OFF, Power.SUSPENDED})


def counts_as_running(power: str) -> bool | None:
    """None: the power does not say."""
    return True if power in ON else False if power in OFF else None


def held_by_machines() -> dict[UUID, Held]:
    """What each machine that is there should hold of its project's quota."""
    rows = list(
        Machine.objects.exclude(state=Machine.State.DELETED).annotate(disk_gib=Sum("disks__size_gib"))
    )
    busy = queries.open_jobs_of(machine_ids=[machine.id for machine in rows])
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
    """Every difference between the ledger and the machines. Corrects nothing."""
    return quota_queries.drift(held_by_machines=held_by_machines())


def keep_running_true(*, machines: Iterable[Machine], now: datetime) -> None:
    """After an observation: what runs is counted as running, what is off is not.

    Where a job is open, its end says it. Machines are given as they were when they were observed.
    """
    rows = [machine for machine in machines if counts_as_running(machine.power) is not None]
    counted = quota_queries.running_holders(holders=[machine.id for machine in rows])
    wrong = [row for row in rows if counted.get(row.id, row.power in ON) != (row.power in ON)]
    for machine in wrong:
        _keep_one(machine, now)


@transaction.atomic
def _keep_one(machine: Machine, now: datetime) -> None:
    if machine.power in ON:
        quotas.hold_running(holder=machine.id, is_observed=True, why="seen running", now=now)
    else:
        quotas.release_running(holder=machine.id, why="seen off", now=now)
    # An unchanged fence and no open job: nobody has asked for anything since the host looked.
    still = Machine.objects.filter(id=machine.id, fence=machine.fence, power=machine.power)
    if Job.objects.filter(machine=machine, status__in=Job.OPEN).exists() or not still.update(
        power=machine.power
    ):
        transaction.set_rollback(True)

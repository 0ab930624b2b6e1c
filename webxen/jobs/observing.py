"""Apply hosts' observations to the power of machines."""

import logging
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet

from webxen.inventory import operations as inventory
from webxen.inventory import queries
from webxen.inventory.models import Host
from webxen.jobs import evidence, kinds, ledger, promises, rounds, settlement
from webxen.jobs.models import Job
from webxen.machines import lifecycle
from webxen.machines.models import Machine
from worker import contract

log = logging.getLogger(__name__)

#: An observation may have been made before a job ended and arrive after it: for this long the power reported
#: by the job is kept. The next observation follows within ten seconds.
SETTLING = timedelta(seconds=5)
#: states in which a machine without a domain is known to be off
SETTLED = (Machine.State.READY, Machine.State.FAILED, Machine.State.DELETING)


def apply_observation(*, host: Host, observation: contract.Observation, now: datetime) -> None:
    """Store an observation, and update the power of the portal's machines on the host."""
    if observation.host != host.name:
        log.warning("%s signed an observation of %s: dropped", host.name, observation.host)
        return
    seen = _keep(host, observation, now)
    # in separate transactions, which lock the quota before host and machine, as everywhere
    ledger.keep_running_true(machines=seen, now=now)
    if observation.holdings is not None:
        at_work = {job.machine_id for job in observation.holdings.jobs}
        for machine in seen:
            is_idle = machine.state == Machine.State.FAILED and str(machine.id) not in at_work
            if is_idle and machine.power in ledger.ON:
                settlement.believe_running(machine=machine, now=now)


@transaction.atomic
def _keep(host: Host, observation: contract.Observation, now: datetime) -> list[Machine]:
    """Store the observation; return the machines whose power was updated."""
    if not inventory.take_observation(host=host, observation=observation, now=now):
        log.warning(
            "%s: observation %d dropped: a newer one was believed already. If no newer one comes, its worker"
            " is too old or has lost its count; let the host join again",
            host.name,
            observation.serial,
        )
        return []
    if not queries.is_accepted(host=host):
        inventory.record_first_words(host=host, observation=observation, now=now)
        return []
    # first, so that evidence of lost rows is known before a machine is placed on this host
    held = observation.holdings or contract.Holdings()
    evidence.take_receipts(host=host, texts=held.receipts, now=now)
    machines = _machines_on(host)
    on_the_way = _on_the_way(host)
    ours = {str(machine.id) for machine in machines} | {str(machine_id) for machine_id in on_the_way}
    inventory.record_observation(host=host, observation=observation, ours=ours, now=now)
    promises.count(hosts=(host,), now=now)
    just_ended = set(
        Job.objects.filter(host=host, finished_at__gt=now - SETTLING).values_list("machine_id", flat=True)
    )
    seen = None if observation.domains is None else {item.uuid: item.power for item in observation.domains}
    told: dict[str, list[Machine]] = {}
    for machine in machines:
        power = _power_of(machine, seen)
        if machine.id in on_the_way and power != Machine.Power.RUNNING:
            # being migrated: a domain that does not run here says nothing; its job reports the power
            continue
        if power is not None and machine.id not in just_ended:
            told.setdefault(power, []).append(machine)
    for power, seen_so in told.items():
        _see(seen_so, power, now)
    return [machine for seen_so in told.values() for machine in seen_so]


def note_other_version(*, name: str, version: int, now: datetime) -> None:
    """Record that a host uses a protocol version that this portal cannot read; staff is informed.

    Its jobs wait as for a silent host. Once it is understood nothing is lost: the sweep sends orders again,
    and the host's journal has the results of jobs.
    """
    inventory.note_other_version(name=name, version=version, now=now)


def _machines_on(host: Host) -> QuerySet[Machine]:
    return Machine.objects.filter(host=host).exclude(state=Machine.State.DELETED)


def _on_the_way(host: Host) -> set[UUID]:
    """Ids of machines that are migrating from or to this host."""
    return {machine for rules in kinds.registered().values() for machine in rules.on_the_way(host=host)}


def lose_sight(*, now: datetime) -> int:
    """Set the power of machines on silent hosts to UNKNOWN; return how many changed."""
    silent = [host for host in queries.states_of_accepted_hosts() if queries.is_silent(host=host, now=now)]
    return rounds.each("lose sight", silent, _lose_sight_of, now=now)


@transaction.atomic
def _lose_sight_of(host: Host) -> int:
    lost = 0
    ready = _machines_on(host).filter(state=Machine.State.READY)
    for machine in ready.exclude(power=Machine.Power.UNKNOWN):
        if lifecycle.lose_power(machines=[machine]):
            lifecycle.tell(machine=machine)
            lost += 1
    return lost


def _see(machines: list[Machine], power: str, now: datetime) -> None:
    """Store the same power of several machines in one UPDATE, and notify where it changed."""
    if power == Machine.Power.UNKNOWN:
        lifecycle.lose_power(machines=machines)
    else:
        ids = [machine.id for machine in machines]
        Machine.objects.filter(id__in=ids).update(power=power, power_seen_at=now)
    for machine in machines:
        if power != machine.power:
            machine.power = power
            lifecycle.tell(machine=machine)


def _power_of(machine: Machine, seen: dict[str, contract.Power] | None) -> str | None:
    if seen is None:
        return Machine.Power.UNKNOWN
    if str(machine.id) in seen:
        return seen[str(machine.id)]
    return Machine.Power.OFF if machine.state in SETTLED else None

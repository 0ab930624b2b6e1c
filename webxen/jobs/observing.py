"""What a host sees of its domains becomes the power of our machines. Power is observed, never guessed."""

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

#: An observation may have been made just before a job ended and be heard just after: for this long
#: the job's own word on power stands. The next observation is at most ten seconds away.
SETTLING = timedelta(seconds=5)
#: states in which a machine that is not in the list is known to be off
SETTLED = (Machine.State.READY, Machine.State.FAILED, Machine.State.DELETING)


def apply_observation(*, host: Host, observation: contract.Observation, now: datetime) -> None:
    """Keep what the host says of itself, and the power of our machines on it."""
    if observation.host != host.name:
        log.warning("%s signed an observation of %s: dropped", host.name, observation.host)
        return
    seen = _keep(host, observation, now)
    # in transactions of its own: there the quota is locked before the host and the machine, as everywhere
    ledger.keep_running_true(machines=seen, now=now)
    if observation.holdings is not None:
        at_work = {job.machine_id for job in observation.holdings.jobs}
        for machine in seen:
            is_idle = machine.state == Machine.State.FAILED and str(machine.id) not in at_work
            if is_idle and machine.power in ledger.ON:
                settlement.believe_running(machine=machine, now=now)


@transaction.atomic
def _keep(host: Host, observation: contract.Observation, now: datetime) -> list[Machine]:
    """Write the observation down; the machines whose power it told."""
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
    # first: what proves that rows were lost is known before anything is placed on this host
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
    told = []
    for machine in machines:
        power = _power_of(machine, seen)
        if machine.id in on_the_way and power != Machine.Power.RUNNING:
            continue  # half of a move: what stands still here is on its way, which its job will say
        if power is not None and machine.id not in just_ended:
            see(machine=machine, power=power, now=now)
            told.append(machine)
    return told


def note_other_version(*, name: str, version: int, now: datetime) -> None:
    """A host said something that this portal cannot read: staff is told, and nothing else comes of it.

    Its jobs wait as for a silent host. What it has told will be told again once it is understood: the sweep
    rings again, and the host's journal knows how the job ended.
    """
    inventory.note_other_version(name=name, version=version, now=now)


def _machines_on(host: Host) -> QuerySet[Machine]:
    return Machine.objects.filter(host=host).exclude(state=Machine.State.DELETED)


def _on_the_way(host: Host) -> set[UUID]:
    """Machines that are moving away from this host or to it."""
    return {machine for rules in kinds.registered().values() for machine in rules.on_the_way(host=host)}


def lose_sight(*, now: datetime) -> int:
    """Nobody knows what runs on a host that says nothing: its machines' power is UNKNOWN. How many."""
    silent = [host for host in queries.accepted_hosts() if queries.is_silent(host=host, now=now)]
    return rounds.each("lose sight", silent, _lose_sight_of, now=now)


@transaction.atomic
def _lose_sight_of(host: Host) -> int:
    lost = 0
    ready = _machines_on(host).filter(state=Machine.State.READY)
    for machine in ready.exclude(power=Machine.Power.UNKNOWN):
        if lifecycle.lose_power(machine=machine):
            lifecycle.tell(machine=machine)
            lost += 1
    return lost


def see(*, machine: Machine, power: str, now: datetime) -> None:
    """Keep what was seen, and tell it where it is news."""
    if power == Machine.Power.UNKNOWN:
        lifecycle.lose_power(machine=machine)
    else:
        Machine.objects.filter(id=machine.id).update(power=power, power_seen_at=now)
    if power != machine.power:
        machine.power = power
        lifecycle.tell(machine=machine)


def _power_of(machine: Machine, seen: dict[str, contract.Power] | None) -> str | None:
    if seen is None:
        return Machine.Power.UNKNOWN
    if str(machine.id) in seen:
        return seen[str(machine.id)]
    return Machine.Power.OFF if machine.state in SETTLED else None

"""Failover: start the machines of a dead host elsewhere, once it is proven to be off.

Two running copies of a machine destroy its disk, and a silent host may still run. Therefore nothing here is
automatic: staff confirms that the host is off, or has its fence agent power it off (`fencing`). Each machine
then gets a new fencing token, which invalidates all earlier orders. Its disks must be in a pool that the new
host sees too.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import transaction

from webxen.accounts.models import User
from webxen.core import audit
from webxen.core.errors import InvalidError, UserError
from webxen.core.messages import Message, tell_all, tell_of
from webxen.fleet.models import Fencing
from webxen.inventory import operations as inventory
from webxen.inventory import queries as hosts
from webxen.inventory.models import Host
from webxen.inventory.placement.choose import NAMED_HOSTS
from webxen.jobs import history, opening, placing, promises, queries
from webxen.jobs.models import Job
from webxen.machines import lifecycle
from webxen.machines.models import Machine
from webxen.migration import candidates
from webxen.migration.precheck import MigratingMachine, Place, is_shared
from webxen.quotas import operations as quotas


class HostHeardError(UserError):
    """The host is reporting, so its machines can be migrated instead."""

    code = "HOST_NOT_SILENT"


@dataclass(frozen=True)
class Rescue:
    """One machine of a silent host; `target` None: it cannot start elsewhere, for the reason in `why`."""

    machine: Machine
    target: str | None
    why: str


def words_for(host: Host) -> Message:
    """Return the phrase that staff types to confirm; it includes the host's name, to prevent typing from
    habit.
    """
    return Message("HOST_IS_OFF_PHRASE", host=host.name)


def plan(*, user: User, host_id: UUID, now: datetime) -> list[Rescue]:
    """Return where each machine of a silent host could start. Raises NotFoundError, HostHeardError."""
    host = hosts.get_visible_host(user=user, id=host_id)
    if not hosts.is_silent(host=host, now=now):
        raise HostHeardError(Message("HOST_NOT_SILENT", host=host.name))
    near = placing.is_near()
    known = candidates.places_near(host=host, now=now) if near else candidates.places(now=now)
    left = {name: place.memory_free_mib for name, place in known.items()}
    ready = Machine.objects.filter(host=host, state=Machine.State.READY).select_related("host", "image")
    whole = ready.defer(*hosts.all_it_says(but=("facts",))).prefetch_related("disks", "interfaces__network")
    machines = list(whole.order_by("-memory_mib", "name"))
    busy = queries.open_jobs_of(machine_ids=[machine.id for machine in machines])
    found = []
    for machine in machines:
        rescue = _plan_one(machine, busy.get(machine.id), host.name, known, left)
        if rescue.target:
            left[rescue.target] -= machine.memory_mib
        found.append(rescue)
    return found


def _plan_one(
    machine: Machine, job: Job | None, source: str, known: dict[str, Place], left: dict[str, int]
) -> Rescue:
    if job is not None and job.kind == Job.Kind.MIGRATE:
        return Rescue(machine, None, Message("WAS_BEING_MOVED"))
    if job is not None:
        return Rescue(machine, None, Message("JOB_OPEN_CHECK_AGAIN", job=job.kind))
    who, whys = candidates.migrating_machine(machine), []
    for name in sorted(known, key=lambda one: (-left[one], one)):
        if name == source:
            continue
        why = _why_not(known[source], known[name], who, left[name])
        if not why:
            return Rescue(machine, name, "")
        whys.append(tell_of(name, why))
    if (left_out := len(whys) - NAMED_HOSTS) > 1:
        whys[NAMED_HOSTS:] = [Message("MORE_HOSTS_CANNOT", n=left_out)]
    return Rescue(machine, None, tell_all(whys) or Message("NO_OTHER_HOST_THERE"))


def _why_not(source: Place, target: Place, machine: MigratingMachine, free_mib: int) -> str:
    apart = [pool for pool in machine.pools if not is_shared(pool, source, target)]
    missing = [bridge for bridge in machine.bridges if bridge not in target.bridges]
    rules = (
        (not target.is_accepting, Message("ELSEWHERE_TAKES_NO_MACHINES")),
        (target.is_silent, Message("ELSEWHERE_NO_CONTACT")),
        (bool(apart), Message("ELSEWHERE_LACKS_POOL", pools=apart)),
        (bool(missing), Message("ELSEWHERE_LACKS_BRIDGE", bridges=missing)),
        (
            free_mib < machine.memory_mib,
            Message("TARGET_MEMORY", free_mib=max(free_mib, 0), needed_mib=machine.memory_mib),
        ),
        (target.domains is None or machine.id in target.domains, Message("ELSEWHERE_MAY_HAVE_DOMAIN")),
    )
    return next((why for is_broken, why in rules if is_broken), "")


class NotProvenError(UserError):
    """There is no proof that the host is off."""

    code = "NOT_PROVEN_OFF"


@dataclass(frozen=True)
class Proof:
    """Why the host is considered off; recorded in the audit and in each job's events."""

    action: str
    words: str
    said_by: str


def restart_elsewhere(*, user: User, host_id: UUID, untrusted_words: str, now: datetime) -> list[Job]:
    """Start the machines on other hosts, after staff has typed the confirmation phrase; return the jobs.

    Raises NotFoundError, InvalidError, HostHeardError, NoRoomError, RestoredError.
    """
    host = hosts.get_visible_host(user=user, id=host_id)
    if untrusted_words.strip() != words_for(host):
        why = Message("TYPE_EXACTLY", phrase=words_for(host))
        raise InvalidError(why, fields={"words": [why]})
    return _restart_all(
        host, Proof("HOST_SAID_OFF", Message("QUOTED", text=words_for(host)), user.username), user, now
    )


def restart_fenced(*, fencing: Fencing, now: datetime) -> list[Job]:
    """Start the machines on other hosts, after the fence agent has just reported that the host is off.

    Return the jobs. Raises NotFoundError, NotProvenError, HostHeardError, NoRoomError, RestoredError.
    """
    if fencing.phase != Fencing.Phase.OFF or fencing.finished_at != now:
        raise NotProvenError(Message("NOT_PROVEN_OFF", name=fencing.agent, host=fencing.host))
    user = fencing.asked_by
    host = hosts.get_visible_host(user=user, id=fencing.host_id)
    return _restart_all(host, Proof("RESTARTED_ELSEWHERE", fencing.agent, fencing.agent), user, now)


@transaction.atomic
def _restart_all(host: Host, proof: Proof, user: User, now: datetime) -> list[Job]:
    """Give each machine that can start elsewhere a new host and a new fencing token, and start it."""
    rescues = [rescue for rescue in plan(user=user, host_id=host.id, now=now) if rescue.target]
    if not rescues:
        raise placing.NoRoomError(Message("NONE_CAN_START_ELSEWHERE", host=host.name))
    audit.record(
        actor=user,
        action=proof.action,
        target_kind="host",
        target_id=str(host.id),
        target_name=host.name,
        detail=Message("STARTED_ELSEWHERE", proof=proof.words, n=len(rescues)),
        now=now,
    )
    return [_restart(rescue, host, proof, user, now) for rescue in rescues]


def _restart(rescue: Rescue, old: Host, proof: Proof, user: User, now: datetime) -> Job:
    machine, target = rescue.machine, hosts.host_named(name=rescue.target or "")
    if target is None or not inventory.reserve_host_memory(
        host_id=target.id, memory_mib=machine.memory_mib, now=now
    ):
        raise placing.NoRoomError(Message("MEMORY_JUST_TAKEN", host=rescue.target))
    machine.host = target
    Machine.objects.filter(id=machine.id).update(host=target, power=Machine.Power.OFF)
    inventory.release_host_memory(host_id=old.id, memory_mib=machine.memory_mib, now=now)
    promises.count(hosts=(old, target), now=now)
    job = opening.open_job(machine, Job.Kind.START, Job.Status.QUEUED, user, now)
    Job.objects.filter(id=job.id).update(takes_over_from=old.name)
    quotas.hold_running(holder=machine.id, is_observed=True, why=Message("WHY_JOB", id=job.id), now=now)
    opening.lift_fence(job)
    history.note(
        job=job,
        event="RESTARTED",
        now=now,
        message=Message("EVENT_HOST_OFF", host=old.name, name=proof.said_by),
    )
    opening.send_once_committed(job, now)
    lifecycle.tell(machine=machine)
    return job

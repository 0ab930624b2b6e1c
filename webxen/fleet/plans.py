"""Plans of evacuations and of balancing. Changes nothing.

Placement chooses hosts, `precheck` checks whether a migration is possible. `evacuation` carries plans out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from webxen.accounts.models import User
from webxen.core import kept_results
from webxen.core.errors import NotFoundError
from webxen.core.messages import Message, as_message, tell_all, tell_of
from webxen.inventory import cpu_levels
from webxen.inventory import queries as hosts
from webxen.inventory.models import Host
from webxen.inventory.placement import plan_balance, plan_evacuation
from webxen.inventory.placement.choose import NAMED_HOSTS
from webxen.jobs import placing, queries
from webxen.jobs.models import Job
from webxen.machines import figures as machine_figures
from webxen.machines.models import Machine
from webxen.migration import candidates
from webxen.migration.precheck import Fit, MigratingMachine, Place, away, check, is_in_the_way
from worker.contract import Features

OFF = Message("OFF_STAYS")
#: kind of the stored result that holds the proposals
KIND = "BALANCE"
#: maximum number of proposals shown
MOST_PROPOSALS = 20


@dataclass(frozen=True)
class Planned:
    """One machine of a plan; `target` None: it cannot migrate, for the reason in `why`."""

    machine: Machine
    source: str
    target: str | None
    method: str
    why: str
    expected_seconds: float
    away_seconds: float
    gain: float = 0.0
    #: the gain as a percentage of the present score
    gain_percent: float = 0.0


@dataclass(frozen=True)
class Plan:
    host: str
    steps: list[Planned]
    #: number of hosts not examined in a large fleet; they have less free memory
    hosts_left_out: int = 0

    @property
    def movable(self) -> list[Planned]:
        return [step for step in self.steps if step.target]

    @property
    def stuck(self) -> list[Planned]:
        return [step for step in self.steps if not step.target]

    @property
    def expected_seconds(self) -> float:
        """Sum of all steps in seconds; shorter if hosts send several machines at a time."""
        return round(sum(step.expected_seconds for step in self.movable), 1)


@dataclass
class _World:
    """State of a plan in progress; `left` decreases as machines are assigned."""

    source: str
    known: dict[str, Place]
    left: dict[str, int]
    rate: float
    one_way_is_fine: bool
    may_shut_down: bool
    room: dict[str, dict[str, int]]
    #: CPU features that not all of these hosts have
    next_hidden: Features
    #: kinds of machines that every host refused since the last assignment, with the reasons
    refused: dict[MigratingMachine, str] = field(default_factory=dict)


def plan_drain(
    *,
    user: User,
    host_id: UUID,
    one_way_is_fine: bool = False,
    may_shut_down: bool = False,
    now: datetime,
) -> Plan:
    """Plan for each machine of the host its target, method and duration, or why it cannot migrate.

    Raises NotFoundError.
    """
    host = hosts.get_visible_host(user=user, id=host_id)
    near = placing.is_near()
    wanted = _wanted(host, now, near=near)
    machines = list(_machines_of(host))
    busy = queries.open_jobs_of(machine_ids=[machine.id for machine in machines])
    known = candidates.places_near(host=host, now=now) if near else candidates.places(now=now)
    world = _World(
        source=host.name,
        known=known,
        left={name: place.memory_free_mib for name, place in known.items()},
        rate=candidates.measured_rate(now=now),
        next_hidden=cpu_levels.hidden_at_boot(),
        one_way_is_fine=one_way_is_fine,
        may_shut_down=may_shut_down,
        room={name: dict(place.pool_free_mib) for name, place in known.items()},
    )
    steps = []
    for machine in sorted(machines, key=lambda one: (-one.memory_mib, one.name)):
        target, explained = wanted.get(str(machine.id), (None, ""))
        if why := _why_stuck(machine, busy.get(machine.id), may_be_off=may_shut_down):
            steps.append(_stuck(machine, host.name, why))
            continue
        steps.append(_place(machine, world, target, explained))
    return Plan(host.name, steps, hosts.count_accepted_hosts() - len(known) if host.name in known else 0)


def _wanted(host: Host, now: datetime, *, near: bool) -> dict[str, tuple[str | None, str]]:
    """Placement's target for each machine, by id, with the reasons of the other hosts."""
    if near:
        figures = placing.figures_near(host=host, most=candidates.NEAR, now=now)
    else:
        figures = placing.figures_of_each(now=now)
    steps = plan_evacuation(figures, host.name, knows_machines=not near)
    return {step.machine.id: (step.target, step.explain()) for step in steps}


def _machines_of(host: Host) -> Sequence[Machine]:
    found = Machine.objects.filter(host=host).exclude(state=Machine.State.DELETED)
    return list(
        found.select_related("host", "image", "project")
        .defer(*hosts.all_it_says(but=("facts",)))
        .prefetch_related("disks", "interfaces__network")
    )


def _why_stuck(machine: Machine, job: Job | None, *, may_be_off: bool = False) -> str:
    if job is not None:
        return Message("JOB_OPEN_PLAN_AGAIN", job=job.kind)
    if machine.state != Machine.State.READY:
        return Message("MACHINE_IS_STATE", state=machine.state)
    if machine.power == Machine.Power.RUNNING or (may_be_off and machine.power == Machine.Power.OFF):
        return ""
    if machine.power == Machine.Power.UNKNOWN:
        return Message("POWER_NOT_REPORTED")
    return OFF if machine.power == Machine.Power.OFF else Message("MACHINE_IS_STATE", state=machine.power)


def _stuck(machine: Machine, source: str, why: str) -> Planned:
    return Planned(machine, source, None, "", why, 0.0, 0.0)


def _place(machine: Machine, world: _World, target: str | None, explained: str) -> Planned:
    """Assign placement's host, or another one if the migration is not possible there."""
    if world.source not in world.known:
        return _stuck(machine, world.source, Message("HOST_NOT_ACCEPTED"))
    who = candidates.migrating_machine(machine, next_hidden=world.next_hidden)
    alike = replace(who, id="", domain="", disks=tuple(replace(disk, id="") for disk in who.disks))
    if alike in world.refused:
        return _stuck(machine, world.source, world.refused[alike])
    whys: list[str] = []
    for name in sorted(world.known, key=lambda one: (one != target, -world.left[one], one)):
        if name == world.source:
            continue
        fit = check(
            source=world.known[world.source],
            target=replace(world.known[name], pool_free_mib=world.room[name]),
            machine=who,
            rate_mib_s=world.rate,
            one_way_is_fine=world.one_way_is_fine,
        )
        if why := _why_not(fit, world, machine):
            whys.append(tell_of(name, why))
            continue
        world.refused.clear()
        world.left[name] -= machine.memory_mib
        for disk in who.disks:
            if disk.id in fit.copied:
                world.room[name][disk.pool] -= disk.size_mib
        return _planned(machine, world.source, fit)
    if (left := len(whys) - NAMED_HOSTS) > 1:
        whys[NAMED_HOSTS:] = [Message("MORE_HOSTS_CANNOT", n=left)]
    why = tell_all(whys) or explained or Message("NO_OTHER_HOST_THERE")
    others = (place for name, place in world.known.items() if name != world.source)
    if not any(is_in_the_way(place, who) for place in others):
        world.refused[alike] = why
    return _stuck(machine, world.source, why)


def _why_not(fit: Fit, world: _World, machine: Machine) -> str:
    if fit.reasons:
        return tell_all(fit.reasons)
    if fit.needs_shutdown and not world.may_shut_down:
        return tell_all([fit.method_why, Message("WOULD_BE_OFF", away_seconds=away(fit.away_seconds))])
    return "" if world.left[fit.host] >= machine.memory_mib else Message("OTHERS_TAKE_ITS_MEMORY")


def _planned(machine: Machine, source: str, fit: Fit) -> Planned:
    why = tell_all([fit.method_why, *fit.warnings])
    return Planned(machine, source, fit.host, fit.method, why, fit.expected_seconds, fit.away_seconds)


def plan_balanced(*, user: User, now: datetime) -> list[Planned]:
    """Return migrations that would balance the cluster, with their gain. Raises NotFoundError."""
    if not user.is_staff:
        raise NotFoundError
    return _kept_proposals() if _are_kept() else propose(now=now)


def _are_kept() -> bool:
    return placing.is_near() or machine_figures.are_many()


def proposed_at(*, now: datetime) -> datetime | None:
    """Time of the shown proposals; None: too many machines to compute them, and no stored result yet."""
    if not _are_kept():
        return now
    kept = kept_results.latest(kind=KIND)
    return kept.at if kept else None


def keep_proposals(*, now: datetime) -> None:
    """Periodic task: plan over everything and store the result, if there are too many machines for pages."""
    if _are_kept():
        data = [
            {**vars(step), "machine": str(step.machine.id), "why": as_message(step.why).dump()}
            for step in propose(now=now)
        ]
        kept_results.keep(kind=KIND, data=data, now=now)


def _kept_proposals() -> list[Planned]:
    """The stored proposals whose machine is still on the same host."""
    kept = kept_results.latest(kind=KIND)
    said: list[dict[str, Any]] = kept.data if kept else []
    ready = Machine.objects.filter(state=Machine.State.READY).select_related("host", "image", "project")
    machines = ready.in_bulk([UUID(one["machine"]) for one in said])
    found = []
    for one in said:
        machine = machines.get(UUID(one["machine"]))
        if machine is not None and machine.host is not None and machine.host.name == one["source"]:
            found.append(Planned(**{**one, "machine": machine, "why": Message.load(one["why"])}))
    return found


def propose(*, now: datetime) -> list[Planned]:
    """The same without a user, for the policy."""
    known = candidates.places(now=now)
    moves = plan_balance(placing.figures_of_each(now=now), most=MOST_PROPOSALS)
    machines = Machine.objects.select_related("host", "image", "project").in_bulk(
        [UUID(move.machine.id) for move in moves]
    )
    busy = queries.open_jobs_of(machine_ids=list(machines))
    rate, next_hidden = candidates.measured_rate(now=now), cpu_levels.hidden_at_boot()
    uneven = moves[0].gain + moves[0].score if moves else 0.0
    found = []
    for move in moves:
        machine = machines[UUID(move.machine.id)]
        if _why_stuck(machine, busy.get(machine.id)) or move.source not in known or move.target not in known:
            continue
        source, target = known[move.source], known[move.target]
        who = candidates.migrating_machine(machine, next_hidden=next_hidden)
        fit = check(source=source, target=target, machine=who, rate_mib_s=rate)
        if fit.fits and not fit.needs_shutdown:
            percent = 100 * move.gain / uneven
            step = _planned(machine, move.source, fit)
            found.append(replace(step, gain=round(move.gain, 4), gain_percent=round(percent, 1)))
    return found

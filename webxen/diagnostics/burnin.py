"""`manage.py burnin HOST`: the acceptance test of a host, through the regular operations.

Plans the run, creates machines in its own project, waits for jobs, checks after each whether the machine is
as expected, and cleans up. `burnin_result` has the statistics. It never changes a machine that it did not
create.
"""

import uuid
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from webxen.accounts import operations as accounts
from webxen.accounts import queries as accounts_queries
from webxen.accounts.models import Project, User
from webxen.core import audit
from webxen.core.errors import UserError
from webxen.core.messages import Message
from webxen.diagnostics.burnin_result import Result, Step
from webxen.diagnostics.burnin_verbs import (
    BOOTING,
    CREATE,
    DELETE,
    VERBS,
    leaves_off,
    said_of,
    why_not_listed,
)
from webxen.diagnostics.findings import Finding
from webxen.diagnostics.verify import verify
from webxen.inventory import placement
from webxen.inventory import queries as inventory
from webxen.inventory.models import Host, Image, Network, Size
from webxen.jobs import operations, orders, placing, queries
from webxen.jobs.models import Job, JobEvent
from webxen.machines.models import Machine
from webxen.quotas import operations as quotas
from webxen.quotas import queries as quota_queries
from webxen.quotas.shortage import Figures

PROJECT = "burnin"
#: hosts report when a domain appears or disappears, and every ten seconds
LOOK = timedelta(seconds=40)
#: added to a job's deadline: the sweep ends unanswered jobs
TIMEOUT = timedelta(seconds=120)
CLEANING = timedelta(minutes=10)


class BurninRefusedError(UserError):
    """The host cannot be tested now; the message says why. Nothing was created."""

    code = "BURNIN_REFUSED"


@dataclass(frozen=True)
class Plan:
    """What to create, where, and as whom."""

    host: Host
    project: Project
    staff: User
    image: Image
    size: Size
    network: Network | None
    machines: int
    is_keeping: bool
    verbs: tuple[str, ...] = VERBS


@dataclass
class Turn:
    """One machine and its remaining verbs."""

    name: str
    verbs: list[str]
    machine_id: UUID | None = None
    job: Job | None = None
    #: domain ids it has had: a machine that was started has a new one
    domids: set[int] = field(default_factory=set)
    is_over: bool = False


def run(
    *,
    plan: Plan,
    clock: Callable[[], datetime],
    rest: Callable[[], None],
    say: Callable[[str], None],
) -> Result:
    """Carry the plan out and return the result, which is also recorded in the audit.

    `rest` pauses between rounds; a KeyboardInterrupt raised in it ends the run cleanly.
    """
    burnin = _Burnin(plan, clock, rest, say)
    is_interrupted = False
    try:
        burnin.go()
    except KeyboardInterrupt:
        is_interrupted = True
        say("Stopping: what was made is deleted. Ctrl-C once more leaves it.")
    left = () if plan.is_keeping and not is_interrupted else burnin.clean_up()
    found = () if is_interrupted else burnin.verify()
    result = Result(plan.host.name, tuple(burnin.steps), found, left, is_interrupted=is_interrupted)
    audit.record(
        actor=plan.staff,
        action="BURNIN_HOST",
        target_kind="host",
        target_id=str(plan.host.id),
        target_name=plan.host.name,
        detail=result.summary,
        now=clock(),
    )
    return result


# --- planning ------------------------------------------------------------------------------------


def prepare(
    *,
    host: str,
    machines: int,
    image: str,
    size: str,
    staff: str | None,
    is_keeping: bool,
    now: datetime,
) -> Plan:
    """Check whether the host can be tested, and create the project with its quota. Raises
    BurninRefusedError.
    """
    person = _staff(staff)
    found = inventory.host_named(name=host)
    if found is None:
        raise BurninRefusedError(Message("HOST_NOT_FOUND", name=host))
    template = inventory.images_visible_to(user=person).filter(slug=image, is_active=True).first()
    figures = inventory.sizes_visible_to(user=person).filter(slug=size).first()
    if template is None or figures is None:
        raise BurninRefusedError(
            f"There is no image {image}." if template is None else f"There is no size {size}."
        )
    networks = inventory.networks_visible_to(user=person).filter(bridge__in=found.bridges)
    plan = Plan(
        host=found,
        project=_project(person, now),
        staff=person,
        image=template,
        size=figures,
        network=networks.first(),
        machines=machines,
        is_keeping=is_keeping,
        verbs=VERBS[:-1] if is_keeping else VERBS,
    )
    if why := _why_no_room(plan, now):
        raise BurninRefusedError(f"{host} cannot take {machines} machines of size {size}: {why}.")
    _grant(plan, now)
    return plan


def _staff(username: str | None) -> User:
    person = accounts_queries.staff_named(username=username)
    if person is None:
        raise BurninRefusedError("Staff starts a burn-in, and there is no such member of staff.")
    return person


def _project(staff: User, now: datetime) -> Project:
    known = Project.objects.filter(slug=PROJECT).first()
    return known or accounts.create_project(slug=PROJECT, name="Burn-in", owner=staff, now=now)


def _why_no_room(plan: Plan, now: datetime) -> str:
    need = placement.Need(
        memory_mib=plan.size.memory_mib * plan.machines,
        disk_mib=plan.size.disk_gib * 1024 * plan.machines,
        vcpus=plan.size.vcpus * plan.machines,
        image_file=plan.image.file,
        image_sha256=plan.image.sha256,
        bridge=plan.network.bridge if plan.network else "",
    )
    figures = next(host for host in placing.figures(now=now) if host.name == plan.host.name)
    return placement.why_not(figures, need)


def _grant(plan: Plan, now: datetime) -> None:
    """Set just enough quota for this run, in addition to what an earlier run may have left."""
    size, count = plan.size, plan.machines
    need = Figures(count, size.vcpus * count, size.memory_mib * count, size.disk_gib * count)
    held = quota_queries.headroom(project=plan.project).reserved
    quotas.set_limits(project=plan.project, limits=held + need, staff=plan.staff, now=now)


# --- the run -------------------------------------------------------------------------------------


class _Burnin:
    """A run in progress."""

    def __init__(
        self,
        plan: Plan,
        clock: Callable[[], datetime],
        rest: Callable[[], None],
        say: Callable[[str], None],
    ) -> None:
        self.plan, self.clock, self.rest, self.say = plan, clock, rest, say
        self.steps: list[Step] = []
        self._begun = clock()
        run_id = uuid.uuid4().hex[:6]
        self.turns = [Turn(f"burnin-{run_id}-{n}", list(plan.verbs)) for n in range(1, plan.machines + 1)]

    def go(self) -> None:
        """Run each machine through its verbs, all machines concurrently."""
        while open_turns := [turn for turn in self.turns if not turn.is_over]:
            for turn in open_turns:
                self._advance(turn)
            self.rest()

    def _advance(self, turn: Turn) -> None:
        if turn.job is None:
            self._ask(turn)
            return
        turn.job.refresh_from_db()
        if turn.job.status in Job.OPEN:
            limit = timedelta(seconds=orders.deadline_seconds(turn.job.kind)) + TIMEOUT
            if self.clock() - turn.job.created_at > limit:
                self._note(turn, "the job has no end: is beat running?")
        elif turn.job.status != Job.Status.SUCCEEDED:
            self._note(turn, " ".join(turn.job.error_message.split()) or turn.job.status.lower())
        else:
            self._look(turn)

    def _ask(self, turn: Turn) -> None:
        verb, now = turn.verbs[0], self.clock()
        try:
            turn.job = self._create(turn, now) if verb == CREATE else self._do(turn, verb, now)
        except UserError as error:
            turn.is_over = True
            self.steps.append(Step(turn.name, verb, 0.0, str(error)))
            self._tell(turn.name, verb, f"REFUSED {error}")
        else:
            turn.machine_id = turn.job.machine_id

    def _create(self, turn: Turn, now: datetime) -> Job:
        plan = self.plan
        return operations.create_machine(
            project=plan.project,
            owner=plan.staff,
            name=turn.name,
            image=plan.image,
            network=plan.network,
            vcpus=plan.size.vcpus,
            memory_mib=plan.size.memory_mib,
            disk_gib=plan.size.disk_gib,
            seed={},
            host_name=plan.host.name,
            requested_by=plan.staff,
            now=now,
        )

    def _do(self, turn: Turn, verb: str, now: datetime) -> Job:
        assert turn.machine_id is not None  # noqa: S101 create is the first verb
        if verb == DELETE:
            return operations.delete_machine(user=self.plan.staff, machine_id=turn.machine_id, now=now)
        return operations.act(user=self.plan.staff, machine_id=turn.machine_id, action=verb, now=now)

    # --- is it alive? ----------------------------------------------------------------------------

    def _look(self, turn: Turn) -> None:
        """Wait until the host's observation agrees with the job's result."""
        job, verb = turn.job, turn.verbs[0]
        assert job is not None  # noqa: S101 only called with a job
        host = Host.objects.get(id=self.plan.host.id)
        is_fresh = host.observed_at is not None and host.observed_at > (job.started_at or job.created_at)
        why = self._why_not_so(turn, verb, host) if is_fresh else "the host has not looked since"
        if not why:
            self._note(turn, "")
        elif self.clock() - (job.finished_at or job.created_at) > LOOK:
            self._note(turn, f"the job succeeded, but {why}")

    def _why_not_so(self, turn: Turn, verb: str, host: Host) -> str:
        listed = [item for item in host.domains or () if item["uuid"] == str(turn.machine_id)]
        if host.domains is None:
            return "the host cannot list its domains"
        if leaves_off(verb) and listed:
            return "its domain is still listed"
        if leaves_off(verb):
            return self._why_not_gone(turn, host) if verb == DELETE else ""
        if verb not in BOOTING:
            return why_not_listed(verb, [item["power"] for item in listed])
        return self._why_not_booted(turn, listed)

    @staticmethod
    def _why_not_booted(turn: Turn, listed: list[dict[str, Any]]) -> str:
        fresh = [item for item in listed if item["power"] == "RUNNING" and item["domid"] not in turn.domids]
        if not fresh:
            return "no new running domain of it is listed"
        if not JobEvent.objects.filter(job=turn.job, step="LOGIN").exists():
            return "no login prompt was seen"
        turn.domids.add(fresh[0]["domid"])
        return ""

    @staticmethod
    def _why_not_gone(turn: Turn, host: Host) -> str:
        holdings = host.holdings
        if holdings is None:
            return "the host does not say which disks it has"
        left = [item for item in holdings["volumes"] if item["machine_id"] == str(turn.machine_id)]
        is_known = str(turn.machine_id) in holdings["machines"]
        return "a disk or a file of it is still there" if left or is_known else ""

    def _note(self, turn: Turn, failure: str) -> None:
        job, verb = turn.job, turn.verbs.pop(0)
        assert job is not None  # noqa: S101 only called with a job that has ended
        ended = job.finished_at or self.clock()
        seconds = (ended - job.created_at).total_seconds()
        self.steps.append(Step(turn.name, verb, seconds, failure))
        alive = said_of(verb)
        self._tell(turn.name, verb, f"FAILED {failure}" if failure else f"ok, {alive}", seconds)
        turn.job = None
        turn.is_over = bool(failure) or not turn.verbs

    def _tell(self, name: str, verb: str, what: str, seconds: float = 0.0) -> None:
        passed = (self.clock() - self._begun).total_seconds()
        self.say(f"[{passed:6.1f} s]  {name}  {verb:<8}  {seconds:6.2f} s  {what}")

    # --- afterwards ------------------------------------------------------------------------------

    def clean_up(self) -> tuple[str, ...]:
        """Delete the machines of this run; return the names of those that remain."""
        made = {turn.machine_id: turn.name for turn in self.turns if turn.machine_id is not None}
        give_up = self.clock() + CLEANING
        try:
            while left := self._living(made):
                for machine in left:
                    self._remove(machine)
                if self.clock() > give_up:
                    break
                self.rest()
        except KeyboardInterrupt:
            self.say("Left as it is.")
        return tuple(sorted(machine.name for machine in self._living(made)))

    @staticmethod
    def _living(made: dict[UUID, str]) -> list[Machine]:
        return list(Machine.objects.filter(id__in=made).exclude(state=Machine.State.DELETED))

    def _remove(self, machine: Machine) -> None:
        job = queries.open_job_of(machine_id=machine.id)
        try:
            if job is None or machine.state == Machine.State.PENDING:
                operations.delete_machine(user=self.plan.staff, machine_id=machine.id, now=self.clock())
            elif job.cancel_asked_at is None and not queries.why_not_cancellable(job):
                operations.cancel_job(user=self.plan.staff, job_id=job.id, now=self.clock())
        except UserError as error:
            self.say(f"{machine.name}: {error}")

    def verify(self) -> tuple[str, ...]:
        """Return the findings of `verify` after the run that concern this run's machines or the host as a
        whole.

        Domains and machines of others are not the test's concern.
        """
        made = {str(turn.machine_id) for turn in self.turns if turn.machine_id is not None}
        found = verify(host=self.plan.host.name, fixed_by=None, now=self.clock()).findings
        return tuple(f"{finding.code}: {finding.said}" for finding in found if _is_about(finding, made))


def _is_about(finding: Finding, machines: AbstractSet[str]) -> bool:
    """Whether it is about one of these machines, or about the host as a whole."""
    is_about_host = not finding.machine and not finding.machine_id
    return is_about_host or finding.machine_id in machines


def describe(plan: Plan) -> str:
    return (
        f"{plan.machines} machines on {plan.host.name}: image {plan.image.slug}, size {plan.size.slug}, "
        f"verbs {', '.join(plan.verbs)}"
    )

"""Effects of a job's end on its machine, quota, host memory and addresses.

Called by jobs.operations in the transaction that ends the job. Only the caller that releases the quota
reservation also releases the host's memory, so nothing is released twice.
"""

from datetime import datetime

from django.db import transaction

from webxen.accounts import queries as accounts
from webxen.accounts.models import User
from webxen.core import events
from webxen.core.messages import Message
from webxen.inventory import operations as inventory
from webxen.jobs import ledger
from webxen.jobs.models import Job
from webxen.jobs.reports import SanitizedReport
from webxen.machines import lifecycle
from webxen.machines.lifecycle import Event
from webxen.machines.models import Machine
from webxen.quotas import operations as quotas
from webxen.quotas import queries as quota_queries
from worker import contract

#: error codes of a host that has not begun: everything is as it was before the order
NOTHING_DONE = frozenset({"ORDER_REFUSED", "JOURNAL_UNWRITABLE", "FENCE_UNREADABLE", "WORKER_TOO_OLD"})


def tell(*, job: Job) -> None:
    """Notify open pages that this job and its machine changed."""
    user_ids = accounts.member_ids(project_id=job.machine.project_id)
    events.publish(kind="job", id=str(job.id), user_ids=user_ids, machine=str(job.machine_id))


def settle_late(*, job: Job, news: SanitizedReport, now: datetime) -> None:
    """As `settle`, for a job that had been given up; does nothing if the machine has a newer job."""
    machine = job.machine
    machine.refresh_from_db()
    if job.kind == Job.Kind.CREATE:
        _drop_seed(machine)
    is_newest = not Job.objects.filter(machine=machine, fence__gt=job.fence).exists()
    if is_newest and machine.state in (Machine.State.FAILED, Machine.State.READY):
        settle(job=job, news=news, now=now)


def settle(*, job: Job, news: SanitizedReport, now: datetime) -> None:
    """Apply the effects of a finished job."""
    machine, actor = job.machine, job.requested_by
    has_succeeded = job.status == Job.Status.SUCCEEDED
    if news.config:
        Machine.objects.filter(id=machine.id).update(config=news.config)
    if job.kind == Job.Kind.DELETE:
        _settle_delete(job, news, now)
        return
    if job.kind == Job.Kind.CREATE:
        if job.status == Job.Status.CANCELLED:
            forget_machine(machine=machine, actor=actor, now=now)
            return
        _settle_create(job, news, now)
    power = news.power
    if power == Machine.Power.UNKNOWN and has_succeeded:
        power = _power_after(job)
    if has_succeeded and machine.state == Machine.State.FAILED:
        find_ready(machine=machine, why=Message("WHY_HOST_CARRIED_OUT", job=job.kind), now=now)
    _count_running(job, power, now)
    _set_power(machine, power, now)


def _power_after(job: Job) -> str:
    """The power after a successful job if the host did not report it."""
    verb = contract.VERBS.get(job.kind)
    return (verb and verb.power_after) or Machine.Power.UNKNOWN


def _settle_delete(job: Job, news: SanitizedReport, now: datetime) -> None:
    machine, actor = job.machine, job.requested_by
    if job.status == Job.Status.SUCCEEDED:
        forget_machine(machine=machine, actor=actor, now=now)
        return
    # A cancelled or refused delete changed nothing, so the machine is READY again.
    is_good = _did_nothing(job, news)
    if machine.state == Machine.State.DELETING:
        event = Event.DELETE_CANCELLED if is_good else Event.DELETE_FAILED
        lifecycle.move(machine=machine, event=event, actor=actor, why=news.error_message, now=now)
    elif is_good:
        find_ready(machine=machine, why=Message("WHY_DELETE_DID_NOTHING"), now=now)
    elif machine.state == Machine.State.FAILED:
        lifecycle.move(machine=machine, event=Event.FOUND_FAILED, actor=None, why=news.error_message, now=now)
    _set_power(machine, news.power, now)


def _did_nothing(job: Job, news: SanitizedReport) -> bool:
    """Whether the machine is unchanged by the delete that ended like this."""
    if job.status == Job.Status.CANCELLED:
        return quota_queries.is_committed(holder=job.machine_id)
    return news.error_code in NOTHING_DONE and lifecycle.was_ready_before_delete(machine=job.machine)


def _settle_create(job: Job, news: SanitizedReport, now: datetime) -> None:
    machine, actor = job.machine, job.requested_by
    _drop_seed(machine)
    is_late = machine.state != Machine.State.BUILDING
    if job.status == Job.Status.SUCCEEDED:
        if is_late:
            find_ready(machine=machine, why=Message("WHY_MADE_LATE"), now=now)
            return
        quotas.commit(holder=machine.id, now=now)
        lifecycle.move(machine=machine, event=Event.BUILT, actor=actor, now=now)
        return
    give_back(machine=machine, now=now)
    event = Event.FOUND_FAILED if is_late else Event.BUILD_FAILED
    lifecycle.move(machine=machine, event=event, actor=actor, why=news.error_message, now=now)


def _drop_seed(machine: Machine) -> None:
    """Delete the seed with the password's hash, which is not needed after the job's end."""
    Machine.objects.filter(id=machine.id).update(seed=None)


def find_ready(*, machine: Machine, why: str, now: datetime) -> bool:
    """Set a FAILED machine that exists after all to READY; return False if it has no quota any more."""
    quotas.commit(holder=machine.id, why=why, now=now)
    if machine.state != Machine.State.FAILED or not quota_queries.is_committed(holder=machine.id):
        return False
    lifecycle.move(machine=machine, event=Event.FOUND_READY, actor=None, why=why, now=now)
    return True


@transaction.atomic
def believe_running(*, machine: Machine, now: datetime) -> bool:
    """Set a machine whose delete failed to READY if its host shows it running; return whether it was set."""
    is_unchanged = Machine.objects.filter(id=machine.id, fence=machine.fence, state=machine.state).exists()
    is_busy = Job.objects.filter(machine=machine, status__in=Job.OPEN).exists()
    if is_busy or not is_unchanged or not quota_queries.is_committed(holder=machine.id):
        return False
    return find_ready(machine=machine, why=Message("WHY_SHOWN_RUNNING"), now=now)


def _count_running(job: Job, power: str, now: datetime) -> None:
    """Count the machine as running or not, by its power; running machines count even above the limit."""
    is_on = ledger.counts_as_running(power)
    if is_on is None and job.kind == Job.Kind.START and job.status == Job.Status.CANCELLED:
        is_on = False  # cancelled before the host had begun
    if is_on:
        quotas.hold_running(
            holder=job.machine_id, is_observed=True, why=Message("WHY_JOB", id=job.id), now=now
        )
    elif is_on is False:
        quotas.release_running(holder=job.machine_id, why=Message("WHY_JOB", id=job.id), now=now)


def _set_power(machine: Machine, power: str, now: datetime) -> None:
    if power != Machine.Power.UNKNOWN:
        Machine.objects.filter(id=machine.id).update(power=power, power_seen_at=now)
        lifecycle.tell(machine=machine)


def leave_open(*, job: Job, why: str, now: datetime) -> None:
    """Set the state after an unknown result: quota, memory and addresses stay reserved until deletion."""
    if job.kind == Job.Kind.CREATE:
        _drop_seed(job.machine)
    verb = contract.VERBS.get(job.kind)
    if verb is not None and verb.event_failed:
        lifecycle.move(machine=job.machine, event=Event(verb.event_failed), actor=None, why=why, now=now)


def give_back(*, machine: Machine, now: datetime) -> None:
    """Release quota and host memory, at most once."""
    if quotas.release(holder=machine.id, now=now) and machine.host_id is not None:
        inventory.release_host_memory(host_id=machine.host_id, memory_mib=machine.memory_mib, now=now)


def forget_machine(*, machine: Machine, actor: User | None, now: datetime) -> None:
    """Mark a machine as deleted that is gone from its host, or never had one, and release everything it
    held.
    """
    give_back(machine=machine, now=now)
    inventory.release_addresses(holder=machine.id, now=now)
    Machine.objects.filter(id=machine.id).update(seed=None, power=Machine.Power.OFF, power_seen_at=now)
    settled = (Machine.State.FAILED, Machine.State.READY)
    event = Event.FOUND_DELETED if machine.state in settled else Event.DELETED
    lifecycle.move(machine=machine, event=event, actor=actor, now=now)

"""The state of a machine: its table of transitions, and the only writer of Machine.state.

Also derives which actions are allowed now, for buttons and operations alike. Power is not a state: it is
observed, and written by jobs.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from django.db import transaction
from django.db.models import F

from webxen.accounts import queries as accounts
from webxen.accounts.models import User
from webxen.core import events
from webxen.core.errors import UserError
from webxen.core.messages import Message
from webxen.core.transitions import Transition
from webxen.machines.models import Machine, MachineMove
from worker import contract

State = Machine.State
Power = Machine.Power


class Event(StrEnum):
    #: a host with room was found for a pending machine
    PLACED = "PLACED"
    BUILT = "BUILT"
    BUILD_FAILED = "BUILD_FAILED"
    DELETE_ASKED = "DELETE_ASKED"
    DELETE_FAILED = "DELETE_FAILED"
    #: cancelled before the host had begun, or refused by a host that has not begun
    DELETE_CANCELLED = "DELETE_CANCELLED"
    DELETED = "DELETED"
    #: reported by the host about a job that was given up, or about a failed machine that runs
    FOUND_READY = "FOUND_READY"
    FOUND_FAILED = "FOUND_FAILED"
    FOUND_DELETED = "FOUND_DELETED"


TRANSITIONS: dict[Event, Transition] = {
    Event.PLACED: Transition(frozenset({State.PENDING}), State.BUILDING),
    Event.BUILT: Transition(frozenset({State.BUILDING}), State.READY),
    Event.BUILD_FAILED: Transition(frozenset({State.BUILDING}), State.FAILED),
    Event.DELETE_ASKED: Transition(frozenset({State.READY, State.FAILED}), State.DELETING),
    Event.DELETE_FAILED: Transition(frozenset({State.DELETING}), State.FAILED),
    Event.DELETE_CANCELLED: Transition(frozenset({State.DELETING}), State.READY),
    # a machine that never got a host is deleted at once; one whose creation was cancelled, after the cleanup
    Event.DELETED: Transition(frozenset({State.DELETING, State.PENDING, State.BUILDING}), State.DELETED),
    Event.FOUND_READY: Transition(frozenset({State.FAILED}), State.READY),
    Event.FOUND_FAILED: Transition(frozenset({State.FAILED}), State.FAILED),
    Event.FOUND_DELETED: Transition(frozenset({State.FAILED, State.READY}), State.DELETED),
}


class MoveRefusedError(UserError):
    """The machine's state does not allow this event."""

    code = "WRONG_STATE"


@transaction.atomic
def move(*, machine: Machine, event: Event, actor: User | None, why: str = "", now: datetime) -> None:
    """Change the machine's state by the table, record the transition, and notify its users after commit.

    Raises MoveRefusedError if the state does not allow the event.
    """
    sources, target = TRANSITIONS[event]
    before = Machine.objects.filter(id=machine.id).values_list("state", flat=True).get()
    moved = before in sources and Machine.objects.filter(id=machine.id, state=before).update(
        state=target,
        state_reason=why if target in (State.FAILED, State.PENDING) else "",
        **({"deleted_at": now} if target == State.DELETED else {}),
    )
    if not moved:
        raise MoveRefusedError(Message("STATE_FORBIDS", name=machine.name, state=before))
    MachineMove.objects.create(
        machine=machine, at=now, actor=actor, event=event, from_state=before, to_state=target, why=why
    )
    machine.refresh_from_db(fields=("state", "state_reason", "deleted_at"))
    tell(machine=machine)


def was_ready_before_delete(*, machine: Machine) -> bool:
    """Whether the machine was READY when its deletion was last requested."""
    asked = (
        MachineMove.objects.filter(machine=machine, event=Event.DELETE_ASKED).order_by("-at", "-id").first()
    )
    return asked is not None and asked.from_state == State.READY


def lose_power(*, machines: Iterable[Machine]) -> int:
    """Set the power to UNKNOWN and keep the last observed one; return how many were not UNKNOWN before."""
    ids = [machine.id for machine in machines]
    known = Machine.objects.filter(id__in=ids).exclude(power=Machine.Power.UNKNOWN)
    return known.update(power=Machine.Power.UNKNOWN, last_power=F("power"))


def tell(*, machine: Machine) -> None:
    """Notify open pages that this machine changed."""
    events.publish(
        kind="machine",
        id=str(machine.id),
        user_ids=accounts.member_ids(project_id=machine.project_id),
        machine=str(machine.id),
    )


# --- which actions are allowed now -------------------------------------------------------------


class OpenJob(Protocol):
    """The part of a machine's open job that is used here; jobs are in a higher layer."""

    @property
    def kind(self) -> str: ...


RUNS = frozenset({Power.RUNNING, Power.PAUSED})
#: power of a machine whose domain was observed
SEEN = frozenset({*RUNS, Power.CRASHED, Power.SUSPENDED})
#: verbs for existing machines, by the action's name
VERBS: dict[str, contract.Verb] = {verb.action: verb for verb in contract.VERBS.values() if verb.states}
ACTIONS = (*VERBS, "console", "edit")


def allowed_actions(*, machine: Machine, open_job: OpenJob | None, user: User | None) -> dict[str, str]:
    """Return every action with the reason it is not allowed now, or "" if it is. `user` None: a policy."""
    judges: dict[str, Callable[[], str]] = {
        "delete": lambda: _why_not_delete(machine, open_job),
        "console": lambda: "" if machine.host_id else Message("MACHINE_HAS_NO_HOST"),
        "edit": lambda: _why_gone(machine),
    }
    return {
        action: _why_gone(machine)
        or (judges[action]() if action in judges else _why_not(VERBS[action], machine, open_job, user))
        for action in ACTIONS
    }


def why_not_needed(*, action: str, machine: Machine) -> str:
    """Return a sentence if the machine is already in the state the action leads to, otherwise ""."""
    verb = VERBS[action]
    is_so = machine.power == verb.power_after and machine.power not in verb.powers
    if machine.state != State.READY or not is_so:
        return ""
    if machine.power == Power.RUNNING:
        return Message("ALREADY_RUNNING", name=machine.name)
    if machine.power == Power.OFF:
        return Message("ALREADY_OFF", name=machine.name)
    return Message("MACHINE_IS_STATE", state=machine.power)


def _may_stop(verb: contract.Verb, machine: Machine) -> bool:
    return machine.state == State.FAILED and machine.power in SEEN and verb.stops_failed


def _why_gone(machine: Machine) -> str:
    return Message("MACHINE_IS_DELETED") if machine.state == State.DELETED else ""


def _why_busy(open_job: OpenJob | None) -> str:
    return Message("JOB_IN_PROGRESS", job=open_job.kind) if open_job else ""


def _why_not_delete(machine: Machine, open_job: OpenJob | None) -> str:
    is_being_created = machine.state == State.BUILDING and open_job is not None and open_job.kind == "CREATE"
    if machine.state == State.PENDING or is_being_created:
        return ""
    if busy := _why_busy(open_job):
        return busy
    return "" if machine.state in VERBS["delete"].states else Message("MACHINE_IS_STATE", state=machine.state)


def _why_not(verb: contract.Verb, machine: Machine, open_job: OpenJob | None, user: User | None) -> str:
    if verb.permission == "STAFF" and user is not None and not user.is_staff:
        return Message("ONLY_STAFF_MOVES")
    if busy := _why_busy(open_job):
        return busy
    if machine.state not in verb.states and not _may_stop(verb, machine):
        return Message("MACHINE_IS_STATE", state=machine.state)
    if not verb.powers or machine.power in verb.powers:
        return ""
    if machine.power == Power.UNKNOWN:
        return Message("POWER_NOT_REPORTED")
    return Message("MACHINE_IS_STATE", state=machine.power)

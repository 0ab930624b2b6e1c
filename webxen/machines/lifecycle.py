"""The settled state of a machine: the table of transitions, and the only writer of Machine.state.

What may be asked of a machine right now is derived here as well, for buttons and for verbs alike.
Power is not a state: it is observed, and written by jobs.
"""

from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from django.db import transaction
from django.db.models import F

from webxen.accounts import queries as accounts
from webxen.accounts.models import User
from webxen.core import events
from webxen.core.errors import UserError
from webxen.core.transitions import Transition
from webxen.machines.models import Machine, MachineMove
from worker import contract

State = Machine.State
Power = Machine.Power


class Event(StrEnum):
    #: a host with room was found for a machine that waited
    PLACED = "PLACED"
    BUILT = "BUILT"
    BUILD_FAILED = "BUILD_FAILED"
    DELETE_ASKED = "DELETE_ASKED"
    DELETE_FAILED = "DELETE_FAILED"
    #: taken back before the host had begun it, or refused by a host that has begun nothing
    DELETE_CANCELLED = "DELETE_CANCELLED"
    DELETED = "DELETED"
    #: the host's own word on a job that had been given up, or on a machine that runs although it had failed
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
    # a machine that never got a host is gone at once, one whose making was cancelled once it is cleaned up
    Event.DELETED: Transition(frozenset({State.DELETING, State.PENDING, State.BUILDING}), State.DELETED),
    Event.FOUND_READY: Transition(frozenset({State.FAILED}), State.READY),
    Event.FOUND_FAILED: Transition(frozenset({State.FAILED}), State.FAILED),
    Event.FOUND_DELETED: Transition(frozenset({State.FAILED, State.READY}), State.DELETED),
}


class MoveRefusedError(UserError):
    """The machine is not in a state this can happen from."""

    code = "WRONG_STATE"


@transaction.atomic
def move(*, machine: Machine, event: Event, actor: User | None, why: str = "", now: datetime) -> None:
    """Move the machine along the table, leave a row about it, and tell those who may see it."""
    sources, target = TRANSITIONS[event]
    before = Machine.objects.filter(id=machine.id).values_list("state", flat=True).get()
    moved = before in sources and Machine.objects.filter(id=machine.id, state=before).update(
        state=target,
        state_reason=why if target in (State.FAILED, State.PENDING) else "",
        **({"deleted_at": now} if target == State.DELETED else {}),
    )
    if not moved:
        raise MoveRefusedError(f"{machine.name} is {before.lower()}, so this cannot happen now.")
    MachineMove.objects.create(
        machine=machine, at=now, actor=actor, event=event, from_state=before, to_state=target, why=why
    )
    machine.refresh_from_db(fields=("state", "state_reason", "deleted_at"))
    tell(machine=machine)


def was_ready_before_delete(*, machine: Machine) -> bool:
    """Was there nothing wrong with the machine when its deletion was last asked for?"""
    asked = (
        MachineMove.objects.filter(machine=machine, event=Event.DELETE_ASKED).order_by("-at", "-id").first()
    )
    return asked is not None and asked.from_state == State.READY


def lose_power(*, machine: Machine) -> bool:
    """Nobody knows any more whether it runs; what was seen last, and when, stays. False: it was not known."""
    known = Machine.objects.filter(id=machine.id).exclude(power=Machine.Power.UNKNOWN)
    return bool(known.update(power=Machine.Power.UNKNOWN, last_power=F("power")))


def tell(*, machine: Machine) -> None:
    """Hint to open pages that this machine changed."""
    events.publish(
        kind="machine",
        id=str(machine.id),
        user_ids=accounts.member_ids(project_id=machine.project_id),
        machine=str(machine.id),
    )


# --- what may be asked now ---------------------------------------------------------------------


class OpenJob(Protocol):
    """What is looked at in a machine's open job; jobs live a floor higher."""

    @property
    def kind(self) -> str: ...


RUNS = frozenset({Power.RUNNING, Power.PAUSED})
#: power of a machine that was seen with a domain
SEEN = frozenset({*RUNS, Power.CRASHED, Power.SUSPENDED})
#: what may be asked of a machine that is there, by the action's name
VERBS: dict[str, contract.Verb] = {verb.action: verb for verb in contract.VERBS.values() if verb.states}
ACTIONS = (*VERBS, "console", "edit")


def allowed_actions(*, machine: Machine, open_job: OpenJob | None, user: User | None) -> dict[str, str]:
    """Every action with the reason it is refused just now, or "" where it is allowed. No user: a policy."""
    judges: dict[str, Callable[[], str]] = {
        "delete": lambda: _why_not_delete(machine, open_job),
        "console": lambda: "" if machine.host_id else "It has no host yet.",
        "edit": lambda: _why_gone(machine),
    }
    return {
        action: _why_gone(machine)
        or (judges[action]() if action in judges else _why_not(VERBS[action], machine, open_job, user))
        for action in ACTIONS
    }


def why_not_needed(*, action: str, machine: Machine) -> str:
    """Say that the machine is already as the action would leave it, or nothing."""
    verb = VERBS[action]
    is_so = machine.power == verb.power_after and machine.power not in verb.powers
    if machine.state != State.READY or not is_so:
        return ""
    if machine.power == Power.RUNNING:
        return f"{machine.name} is already running."
    if machine.power == Power.OFF:
        return f"{machine.name} is already off."
    return f"It is {machine.power.lower()}."


def _may_stop(verb: contract.Verb, machine: Machine) -> bool:
    return machine.state == State.FAILED and machine.power in SEEN and verb.stops_failed


def _why_gone(machine: Machine) -> str:
    return "It is deleted." if machine.state == State.DELETED else ""


def _why_busy(open_job: OpenJob | None) -> str:
    return f"A job is open: {open_job.kind.lower()}. Wait until it ends." if open_job else ""


def _why_not_delete(machine: Machine, open_job: OpenJob | None) -> str:
    is_being_created = machine.state == State.BUILDING and open_job is not None and open_job.kind == "CREATE"
    if machine.state == State.PENDING or is_being_created:
        return ""
    if busy := _why_busy(open_job):
        return busy
    return "" if machine.state in VERBS["delete"].states else f"It is {machine.state.lower()}."


def _why_not(verb: contract.Verb, machine: Machine, open_job: OpenJob | None, user: User | None) -> str:
    if verb.permission == "STAFF" and user is not None and not user.is_staff:
        return "Only staff moves machines."
    if busy := _why_busy(open_job):
        return busy
    if machine.state not in verb.states and not _may_stop(verb, machine):
        return f"It is {machine.state.lower()}."
    if not verb.powers or machine.power in verb.powers:
        return ""
    if machine.power == Power.UNKNOWN:
        return "Its host has not said whether it runs."
    return f"It is {machine.power.lower()}."

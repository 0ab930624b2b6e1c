"""Transitions of Move.phase, and its only writer. `operations` and `finalize` decide."""

from enum import StrEnum
from typing import Any
from uuid import UUID

from webxen.core.transitions import Transition
from webxen.migration.models import Move

Phase = Move.Phase

#: phase of a new migration
INITIAL = Phase.WAITING


class Event(StrEnum):
    #: both hosts are free: the target gets its order
    BEGUN = "BEGUN"
    #: the target listens, and the source gets its order
    TARGET_READY = "TARGET_READY"
    #: the facts of both hosts decide
    DECIDED = "DECIDED"
    #: the facts do not decide, or no longer
    NOT_KNOWN = "NOT_KNOWN"
    #: a host sees something that contradicts the outcome
    CONTRADICTED = "CONTRADICTED"
    #: nothing is left to clean up
    SETTLED = "SETTLED"
    #: cancelled before any host was asked
    CANCELLED = "CANCELLED"


TRANSITIONS: dict[Event, Transition] = {
    Event.BEGUN: Transition(frozenset({Phase.WAITING}), Phase.PREPARING),
    Event.TARGET_READY: Transition(frozenset({Phase.PREPARING}), Phase.MOVING),
    Event.DECIDED: Transition(frozenset({*Move.ACTIVE, Phase.UNKNOWN}), Phase.SETTLING),
    Event.NOT_KNOWN: Transition(frozenset({*Move.ACTIVE, Phase.UNKNOWN}), Phase.UNKNOWN),
    Event.CONTRADICTED: Transition(frozenset({Phase.SETTLING}), Phase.UNKNOWN),
    Event.SETTLED: Transition(frozenset({Phase.SETTLING}), Phase.ENDED),
    Event.CANCELLED: Transition(frozenset({Phase.WAITING}), Phase.ENDED),
}


def change(*, move_id: UUID, event: Event, **columns: Any) -> bool:
    """Apply an event in one conditional UPDATE, with the other columns given.

    Return False, without a change, if the table has no such transition from the present phase.
    """
    sources, target = TRANSITIONS[event]
    return bool(Move.objects.filter(pk=move_id, phase__in=sources).update(phase=target, **columns))

"""The table of transitions of Move.phase, and its only writer; `operations` and `finalize` decide."""

from enum import StrEnum
from typing import Any
from uuid import UUID

from webxen.core.transitions import Transition
from webxen.migration.models import Move

Phase = Move.Phase

#: how a move is written down
INITIAL = Phase.WAITING


class Event(StrEnum):
    #: both hosts are free for it: the target is asked
    BEGUN = "BEGUN"
    #: the target listens, and the source is told to send
    TARGET_READY = "TARGET_READY"
    #: the facts of both hosts decide
    DECIDED = "DECIDED"
    #: the facts do not decide, or not any more
    NOT_KNOWN = "NOT_KNOWN"
    #: a host sees something that contradicts the verdict
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
    """Apply an event, in one conditional UPDATE with the other columns given.

    Returns False, with nothing changed, where the table has no such transition from the move's phase.
    """
    sources, target = TRANSITIONS[event]
    return bool(Move.objects.filter(pk=move_id, phase__in=sources).update(phase=target, **columns))

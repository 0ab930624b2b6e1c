"""Transitions of the status of machine and quota requests, and its only writer."""

from datetime import datetime
from enum import StrEnum

from django.db.models import Q

from webxen.accounts.models import User
from webxen.approvals.models import MachineRequest, QuotaRequest
from webxen.core.transitions import Transition

Status = MachineRequest.Status


class Event(StrEnum):
    #: by staff, or automatically by the policy
    APPROVED = "APPROVED"
    REJECTED = "REJECTED"
    WITHDRAWN = "WITHDRAWN"


_OPEN = frozenset({Status.PENDING})
TRANSITIONS: dict[Event, Transition] = {
    Event.APPROVED: Transition(_OPEN, Status.APPROVED),
    Event.REJECTED: Transition(_OPEN, Status.REJECTED),
    Event.WITHDRAWN: Transition(_OPEN, Status.WITHDRAWN),
}


def decide(
    *,
    request: MachineRequest | QuotaRequest,
    event: Event,
    by: User | None,
    reason: str,
    now: datetime,
    still: Q | None = None,
) -> bool:
    """Apply a decision in one conditional UPDATE. `by` None: the policy.

    Return False, without a change, if the request is already decided or does not fulfil `still`.
    """
    sources, target = TRANSITIONS[event]
    rows = QuotaRequest.objects if isinstance(request, QuotaRequest) else MachineRequest.objects
    found = rows.filter(still or Q(), id=request.id, status__in=sources)
    decided = {"decided_by": by, "decided_at": now, "decision_reason": reason}
    return bool(found.update(status=target, **decided))

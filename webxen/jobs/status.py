"""The table of transitions of Job.status, and its only writer. What else an event changes its caller does."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from django.db.models import Q

from webxen.core.transitions import Transition
from webxen.jobs.models import Job
from webxen.jobs.reports import SanitizedReport

Status = Job.Status

#: how a job is opened
INITIAL = frozenset({Status.PENDING, Status.QUEUED})
_SENT = frozenset({Status.QUEUED, Status.RUNNING})
_FAILED = frozenset({Status.FAILED})


class Event(StrEnum):
    #: a host with room was found
    PLACED = "PLACED"
    #: any report of the host short of its end
    STARTED = "STARTED"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    ERROR = "ERROR"
    CANCELLED = "CANCELLED"
    #: the host was heard and never reported on it
    NOT_ANSWERED = "NOT_ANSWERED"
    #: the host's own end of a job that had ended with NO_ANSWER
    FOUND_SUCCEEDED = "FOUND_SUCCEEDED"
    FOUND_FAILED = "FOUND_FAILED"
    FOUND_ERROR = "FOUND_ERROR"
    FOUND_CANCELLED = "FOUND_CANCELLED"


TRANSITIONS: dict[Event, Transition] = {
    Event.PLACED: Transition(frozenset({Status.PENDING}), Status.QUEUED),
    Event.STARTED: Transition(_SENT, Status.RUNNING),
    Event.SUCCEEDED: Transition(_SENT, Status.SUCCEEDED),
    Event.FAILED: Transition(_SENT, Status.FAILED),
    Event.ERROR: Transition(_SENT, Status.ERROR),
    Event.CANCELLED: Transition(frozenset(Job.OPEN), Status.CANCELLED),
    Event.NOT_ANSWERED: Transition(_SENT, Status.FAILED),
    Event.FOUND_SUCCEEDED: Transition(_FAILED, Status.SUCCEEDED),
    Event.FOUND_FAILED: Transition(_FAILED, Status.FAILED),
    Event.FOUND_ERROR: Transition(_FAILED, Status.ERROR),
    Event.FOUND_CANCELLED: Transition(_FAILED, Status.CANCELLED),
}


def event_of(news: SanitizedReport, *, is_late: bool) -> Event:
    """What a host's report is to its job; `is_late`: the job had ended with NO_ANSWER."""
    if not news.is_end:
        return Event.STARTED
    return Event(f"FOUND_{news.event}" if is_late else news.event)


def change(*, job_id: UUID, event: Event, now: datetime, still: Q | None = None, **columns: Any) -> bool:
    """Apply an event, in one conditional UPDATE with the other columns given.

    An end also sets `finished_at` and clears `waiting_for`. Returns False, with nothing changed, where the
    table has no such transition from the job's status or the job does not fulfil `still` any more.
    """
    sources, target = TRANSITIONS[event]
    if target not in Job.OPEN:
        columns = {"finished_at": now, "waiting_for": "", **columns}
    found = Job.objects.filter(still or Q(), id=job_id, status__in=sources)
    return bool(found.update(status=target, **columns))

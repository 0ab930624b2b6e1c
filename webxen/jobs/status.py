"""Transitions of Job.status, and its only writer. Callers apply the other effects of an event."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from django.db.models import Q

from webxen.core.transitions import Transition
from webxen.jobs.models import Job
from webxen.jobs.reports import SanitizedReport

Status = Job.Status

#: statuses of a new job
INITIAL = frozenset({Status.PENDING, Status.QUEUED})
_SENT = frozenset({Status.QUEUED, Status.RUNNING})
_FAILED = frozenset({Status.FAILED})


class Event(StrEnum):
    #: a host with room was found
    PLACED = "PLACED"
    #: any report of the host before its end
    STARTED = "STARTED"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    ERROR = "ERROR"
    CANCELLED = "CANCELLED"
    #: the host reports, but never about this job
    NOT_ANSWERED = "NOT_ANSWERED"
    #: the host reports the end of a job that had ended with NO_ANSWER
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
    """Return the event of a report; `is_late`: the job had ended with NO_ANSWER."""
    if not news.is_end:
        return Event.STARTED
    return Event(f"FOUND_{news.event}" if is_late else news.event)


def change(*, job_id: UUID, event: Event, now: datetime, still: Q | None = None, **columns: Any) -> bool:
    """Apply an event in one conditional UPDATE, with the other columns given.

    An end also sets `finished_at` and clears `waiting_for`. Return False, without a change, if the table has
    no such transition from the job's status or the job does not fulfil `still`.
    """
    sources, target = TRANSITIONS[event]
    if target not in Job.OPEN:
        columns = {"finished_at": now, "waiting_for": "", **columns}
    found = Job.objects.filter(still or Q(), id=job_id, status__in=sources)
    return bool(found.update(status=target, **columns))

"""Timeouts of jobs: which orders are sent again, and which jobs end without an answer. Reads only.

Time counts only while the host reports. A silent host's jobs stay open, and their time starts again with its
next report. A disconnected host, a suspended portal and a clock set forward cannot be distinguished here, so
none of them ends a job.
"""

from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import F, Q, QuerySet

from webxen.core.messages import Message
from webxen.inventory import queries as inventory
from webxen.jobs import kinds, orders
from webxen.jobs.models import Job

#: added to a job's deadline, for reports in transit
GRACE = timedelta(seconds=60)
#: a job younger than this is being sent by the request that created it
ON_ITS_WAY = timedelta(seconds=5)


def due_again(*, now: datetime) -> QuerySet[Job]:
    """Jobs to send now: never sent, not acknowledged, without recent reports, or cancelled since they were
    sent.

    While the host is silent an order is sent again only when the last one has expired, because that is still
    queued. After the host's timeout nothing is sent, so that no order is valid when the job ends.
    """
    quiet = now - timedelta(seconds=settings.WEBXEN_RESEND_SECONDS)
    expired = now - timedelta(seconds=settings.WEBXEN_ORDER_TTL_SECONDS)
    silent = _is_silent(now)
    unsent = (
        Q(sent_at=None, created_at__lte=now - ON_ITS_WAY)
        | Q(sent_at__lt=F("cancel_asked_at"))
        | Q(sent_at__gt=now)  # the clock was set back
        | (Q(sent_at__lte=quiet) & ~silent)
        | (Q(sent_at__lte=expired) & silent)
    )
    patient = now - _host_timeout()
    is_waited_for = Q(created_at__gt=patient) | Q(host__heard_since=None) | Q(host__heard_since__gt=patient)
    due = (
        Q(status=Job.Status.QUEUED) & (Q(sent_at=None) | silent | is_waited_for)
        | Q(status=Job.Status.RUNNING, heard_at__lte=quiet)
        | Q(status=Job.Status.RUNNING, cancel_asked_at__isnull=False)
    )
    return _plain().filter(unsent & due).order_by("created_at")


def unanswered(*, now: datetime) -> list[Job]:
    """Return jobs that may have timed out: their host reports, and their last order has expired."""
    heard = (
        _plain()
        .select_related("machine", "host")
        .filter(~_is_silent(now), host__state__in=inventory.ACCEPTED)
    )
    void = now - timedelta(seconds=settings.WEBXEN_ORDER_TTL_SECONDS) - GRACE
    # a job that was never sent is not given up: no host was asked yet
    queued = Q(status=Job.Status.QUEUED, sent_at__lte=void, created_at__lte=now - _host_timeout())
    return list(heard.filter(queued | Q(status=Job.Status.RUNNING)))


def why_given_up(*, job: Job, now: datetime) -> str:
    """Return the reason to give the job up, or "" if it is still waited for."""
    waited = now - _waited_since(job, now)
    if job.status == Job.Status.QUEUED and waited >= _host_timeout():
        return Message("NO_ANSWER_UNKNOWN_START", host=job.host)
    if job.status == Job.Status.RUNNING:
        allowed = timedelta(seconds=orders.deadline_seconds(job.kind)) + GRACE
        return Message("NO_ANSWER_UNKNOWN_END", host=job.host) if waited > allowed else ""
    return ""


def ends_by(*, job: Job, now: datetime) -> datetime | None:
    """When the sweep should have ended an open job at the latest; None: no limit applies now."""
    if job.host is None or inventory.is_silent(host=job.host, now=now):
        return None
    since = _waited_since(job, now)
    if job.status == Job.Status.RUNNING:
        rules = kinds.rules_of(job.kind)
        seconds = orders.deadline_seconds(job.kind) if rules is None else rules.deadline_seconds(job=job)
        return since + timedelta(seconds=seconds) + GRACE
    if job.status == Job.Status.QUEUED:
        return since + _host_timeout() + timedelta(seconds=settings.WEBXEN_ORDER_TTL_SECONDS) + GRACE
    return None


def _plain() -> QuerySet[Job]:
    """Jobs of plain kinds. Registered kinds send and end theirs in their own sweep."""
    return Job.objects.exclude(kind__in=list(kinds.registered()))


def _waited_since(job: Job, now: datetime) -> datetime:
    """The last report of the job, or of its host after a silence; times in the future are ignored."""
    host = job.host
    times = [job.created_at, job.started_at, job.heard_at, host.heard_since if host else None]
    return max((at for at in times if at is not None and at <= now), default=now)


def _is_silent(now: datetime) -> Q:
    limit = now - timedelta(seconds=settings.WEBXEN_SILENT_SECONDS)
    return Q(host__observed_at=None) | Q(host__observed_at__lt=limit)


def _host_timeout() -> timedelta:
    """How long a job waits for a host that reports but does not answer."""
    return timedelta(seconds=settings.WEBXEN_HOST_TIMEOUT_SECONDS)

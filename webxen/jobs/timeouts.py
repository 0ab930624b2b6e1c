"""How long a job is waited for: which orders are sent again, and which jobs end without an answer.

Time counts only while the host is heard. A silent host keeps its jobs open, and from its first word on each
has its whole time again. A host that was cut off, a portal that was suspended and a clock set forward look
the same from here, so none of them ends a job. Nothing is written here.
"""

from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import F, Q, QuerySet

from webxen.inventory import queries as inventory
from webxen.jobs import kinds, orders
from webxen.jobs.models import Job

#: beyond a job's own deadline, for news that is on its way
GRACE = timedelta(seconds=60)
#: a job this young is being sent by the request that made it
ON_ITS_WAY = timedelta(seconds=5)


def due_again(*, now: datetime) -> QuerySet[Job]:
    """Jobs to send now: never sent, not acknowledged, fallen silent, or cancelled since they were sent.

    While the host is silent an order is sent anew only when the last one has expired: it lies on the host's
    queue. Once the time is over nothing is sent any more, so that no order is valid when the job ends.
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
    """Jobs that may have been waited for long enough: their host is heard, and no order is valid any more."""
    heard = (
        _plain()
        .select_related("machine", "host")
        .filter(~_is_silent(now), host__state__in=inventory.ACCEPTED)
    )
    void = now - timedelta(seconds=settings.WEBXEN_ORDER_TTL_SECONDS) - GRACE
    # one that was never sent is sent when it can be: nobody was asked yet
    queued = Q(status=Job.Status.QUEUED, sent_at__lte=void, created_at__lte=now - _host_timeout())
    return list(heard.filter(queued | Q(status=Job.Status.RUNNING)))


def why_given_up(*, job: Job, now: datetime) -> str:
    """What is said of a job that has been waited for long enough; empty: it is waited for."""
    waited = now - _waited_since(job, now)
    if job.status == Job.Status.QUEUED and waited >= _host_timeout():
        return f"{job.host} did not answer, so nobody knows whether it began this job."
    if job.status == Job.Status.RUNNING:
        allowed = timedelta(seconds=orders.deadline_seconds(job.kind)) + GRACE
        return f"{job.host} took this job and did not say how it ended." if waited > allowed else ""
    return ""


def ends_by(*, job: Job, now: datetime) -> datetime | None:
    """When the sweep should have ended an open job at the latest; None: it waits as long as it takes."""
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
    """Jobs of one host. Those of registered kinds are sent again and ended by their own sweep."""
    return Job.objects.exclude(kind__in=list(kinds.registered()))


def _waited_since(job: Job, now: datetime) -> datetime:
    """The last thing heard of the job or, after a silence, of its host; a time still to come is no time."""
    host = job.host
    times = [job.created_at, job.started_at, job.heard_at, host.heard_since if host else None]
    return max((at for at in times if at is not None and at <= now), default=now)


def _is_silent(now: datetime) -> Q:
    limit = now - timedelta(seconds=settings.WEBXEN_SILENT_SECONDS)
    return Q(host__observed_at=None) | Q(host__observed_at__lt=limit)


def _host_timeout() -> timedelta:
    """A job waits so long for a host that is heard and does not answer."""
    return timedelta(seconds=settings.WEBXEN_HOST_TIMEOUT_SECONDS)

"""The only writer to a dom0's queue: seals the order and rings. Never inside a transaction.

A ring that fails is no failure: the job stays QUEUED and the sweep rings again.
"""

import logging
from datetime import datetime
from uuid import UUID

from django.conf import settings
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from webxen.celery import app
from webxen.inventory import queries as inventory
from webxen.jobs import orders, signing
from webxen.jobs.models import Job, JobEvent
from worker import contract

log = logging.getLogger(__name__)

#: By default Kombu tries for six seconds when nobody listens, and for ever when nobody answers.
IMPATIENT = {
    "max_retries": 0,
    "interval_start": 0,
    "interval_step": 0,
    "interval_max": 0,
    "socket_connect_timeout": 0.8,
    "socket_timeout": 0.8,
}
BROKER_AWAY = "The message broker is away. The job is sent as soon as it is back."

NOT_ACCEPTED = "The host has a new key that staff has not accepted yet. The job is sent as soon as it has."


def send(*, job_id: UUID, now: datetime) -> bool:
    """Send the job's order to its host. False: the broker could not be reached."""
    job = Job.objects.select_related("machine__image", "host").filter(id=job_id).first()
    if job is None or job.host is None or job.status not in (Job.Status.QUEUED, Job.Status.RUNNING):
        return True
    if not inventory.is_accepted(host=job.host):
        Job.objects.filter(id=job.id).update(waiting_for=NOT_ACCEPTED)
        return False
    envelope = _seal(job, now)
    try:
        ring(host=job.host.name, job_id=job.id, envelope=envelope)
    except (OperationalError, RedisError, OSError) as error:
        log.warning("job %s was not sent to %s: %s", job.id, job.host.name, error)
        Job.objects.filter(id=job.id).update(waiting_for=BROKER_AWAY)
        return False
    if Job.objects.filter(id=job.id, sent_at=None).update(sent_at=now):
        JobEvent.objects.create(job=job, at=now, event="SENT", message=f"to {job.host.name}")
    else:
        Job.objects.filter(id=job.id).update(sent_at=now)
    Job.objects.filter(id=job.id, waiting_for__in=(BROKER_AWAY, NOT_ACCEPTED)).update(waiting_for="")
    return True


def _seal(job: Job, now: datetime) -> str:
    machine = job.machine
    order = orders.order_for(
        job, machine, list(machine.disks.all()), list(machine.interfaces.select_related("network"))
    )
    assert job.host is not None  # noqa: S101 - send() has looked
    return contract.seal(
        order,
        host=job.host.name,
        sign=signing.signer_for(settings.WEBXEN_PORTAL_KEY_FILE, trusted=job.host.portal_keys),
        not_after=int(now.timestamp()) + settings.WEBXEN_ORDER_TTL_SECONDS,
    )


def ring(*, host: str, job_id: UUID, envelope: str) -> None:
    """Put the envelope on the host's queue, or fail within a second: somebody waits for the answer."""
    with app.connection_for_write(transport_options=IMPATIENT) as connection:
        app.send_task(
            contract.TASK_OBEY,
            args=[envelope],
            task_id=str(job_id),
            queue=contract.queue_for(host),
            retry=False,
            connection=connection,
            # Celery would copy the arguments into a header and into logs
            argsrepr="(envelope)",
        )

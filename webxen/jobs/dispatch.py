"""Sign orders and put them on hosts' queues; the only writer of these queues. Never inside a transaction.

If sending fails, the job stays QUEUED and the sweep sends it again.
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from django.conf import settings
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from webxen.celery import app
from webxen.core import portal_key, transport
from webxen.core.messages import Message
from webxen.inventory import cpu_levels, restores
from webxen.inventory import queries as inventory
from webxen.inventory.models import Host
from webxen.jobs import broker_trouble, kinds, orders
from webxen.jobs.kinds import Outcome
from webxen.jobs.models import Job, JobEvent
from webxen.machines.models import Disk, Interface, Machine
from worker import contract

log = logging.getLogger(__name__)

#: Kombu's defaults: six seconds of retries without a listener, no time limit without an answer.
IMPATIENT = {
    "max_retries": 0,
    "interval_start": 0,
    "interval_step": 0,
    "interval_max": 0,
    "socket_connect_timeout": 0.8,
    "socket_timeout": 0.8,
}
CANCEL_AWAY = Message("CANCEL_NOT_SENT")

#: Kombu's Redis transport has a list for each of the priorities 0, 3, 6 and 9, read in this order. A cancel
#: must be read before an order that is still queued.
FIRST, USUAL = 0, 3

#: waiting_for of a cancelled job
CANCELLING = Message("CANCELLING")

NO_KEY = Message("SIGNING_KEY_UNUSABLE")

NOT_ACCEPTED = Message("HOST_KEY_NOT_ACCEPTED")
#: waiting_for values that are cleared when the job is sent
PASSING = (*broker_trouble.ALL, CANCEL_AWAY, NOT_ACCEPTED, NO_KEY, restores.HELD)


def send(*, job_id: UUID, now: datetime) -> Outcome:
    """Send the job's order, or its cancellation, to its host. Sets waiting_for if it cannot be sent."""
    job = (
        Job.objects.select_related("machine__image", "machine__project", "machine__owner", "host")
        .filter(id=job_id)
        .first()
    )
    if job is not None and job.status in Job.OPEN and restores.is_held():
        Job.objects.filter(id=job.id).update(waiting_for=restores.HELD)
        return Outcome.HELD
    if job is not None and (rules := kinds.rules_of(job.kind)) is not None:
        return rules.send(job=job, now=now)
    if job is None or job.host is None or job.status not in (Job.Status.QUEUED, Job.Status.RUNNING):
        return Outcome.HELD
    if not inventory.is_accepted(host=job.host):
        Job.objects.filter(id=job.id).update(waiting_for=NOT_ACCEPTED)
        return Outcome.HELD
    disks, cards = parts_of(job.machine)
    outcome = send_to_host(job, job.host, orders.order_for(job, job.machine, disks, cards), now)
    if outcome != Outcome.SENT:
        return outcome
    if Job.objects.filter(id=job.id, sent_at=None).update(sent_at=now):
        JobEvent.objects.create(
            job=job, at=now, event="SENT", message=Message("EVENT_TO_HOST", host=job.host.name)
        )
    else:
        Job.objects.filter(id=job.id).update(sent_at=now)
    clear_waiting(job)
    return Outcome.SENT


def clear_waiting(job: Job) -> None:
    """Clear the reason why the job was not sent."""
    waiting = Job.objects.filter(id=job.id, waiting_for__in=PASSING)
    waiting.update(waiting_for=CANCELLING if job.cancel_asked_at else "")


def _receipt(job: Job, host: Host, order: contract.Order, now: datetime) -> str:
    """The machine as the rows have it, signed for this portal itself; empty for a cancellation."""
    if isinstance(order, contract.CancelJob):
        return ""
    disks, cards = parts_of(job.machine)
    receipt = orders.receipt_of(order, job.machine, disks, cards, at=int(now.timestamp()))
    return contract.seal_receipt(receipt, host=host.name, sign=_signer(host))


def _signer(host: Host) -> Callable[[bytes], bytes]:
    return portal_key.signer_for(settings.WEBXEN_PORTAL_KEY_FILE, trusted=host.portal_keys)


def parts_of(machine: Machine) -> tuple[list[Disk], list[Interface]]:
    """Return a machine's disks, and its interfaces with their networks, as needed for an order."""
    return list(machine.disks.all()), list(machine.interfaces.select_related("network"))


def send_to_host(job: Job, host: Host, order: contract.Order, now: datetime) -> Outcome:
    """Sign an order of this job and put it on the host's queue; set waiting_for if that fails."""
    # features hidden at boot; orders that boot nothing ignore them
    hidden = contract.features_text(cpu_levels.hidden_at_boot(here=host.facts))
    try:
        receipt = _receipt(job, host, order, now)
        envelope = contract.seal(
            replace(order, machine=replace(order.machine, cpu_hidden=hidden, receipt=receipt)),
            host=host.name,
            sign=_signer(host),
            not_after=int(now.timestamp()) + settings.WEBXEN_ORDER_TTL_SECONDS,
        )
        priority = FIRST if isinstance(order, contract.CancelJob) else USUAL
        ring(host=host.name, job_id=job.id, envelope=envelope, priority=priority)
    except portal_key.KeyUnusable as error:
        log.error("job %s was not sent to %s: %s", job.id, host.name, error)
        Job.objects.filter(id=job.id).update(waiting_for=NO_KEY)
        return Outcome.HELD
    except (OperationalError, RedisError, OSError) as error:
        log.warning("job %s was not sent to %s: %s", job.id, host.name, error)
        why = CANCEL_AWAY if job.cancel_asked_at else broker_trouble.words_for(error)
        Job.objects.filter(id=job.id).update(waiting_for=why)
        return Outcome.BROKER_AWAY
    return Outcome.SENT


def ring(*, host: str, job_id: UUID, envelope: str, priority: int = FIRST, slot: str = "") -> None:
    """Put the envelope on the host's queue, or fail within a second because a request may wait for it.

    It replaces a queued message with the same `slot`, by default the job's. Raises OperationalError,
    RedisError or OSError.
    """
    with app.connection_for_write(transport_options=IMPATIENT) as connection:
        app.send_task(
            contract.TASK_OBEY,
            args=[envelope],
            task_id=str(job_id),
            queue=contract.queue_for(host),
            priority=priority,
            retry=False,
            connection=connection,
            # only the newest message about a job is queued for a host that is away
            headers={transport.SLOT: slot or str(job_id)},
            # Celery would otherwise copy the arguments into a header and into logs
            argsrepr="(envelope)",
        )

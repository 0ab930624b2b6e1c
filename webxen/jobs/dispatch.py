"""The only writer to a dom0's queue: seals the order and rings. Never inside a transaction.

A ring that fails is no failure: the job stays QUEUED and the sweep rings again.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from django.conf import settings
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from webxen.celery import app
from webxen.core import portal_key, transport
from webxen.inventory import cpu_levels, restores
from webxen.inventory import queries as inventory
from webxen.inventory.models import Host
from webxen.jobs import broker_trouble, orders
from webxen.jobs.models import Job, JobEvent, Move, MoveSide
from webxen.machines.models import Disk, Interface, Machine
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
CANCEL_AWAY = (
    "The message broker has not taken the cancel: it has not reached the host, which may still begin the job."
    " It is sent as soon as the broker takes it."
)

#: Kombu's Redis transport keeps a list for each of the priorities 0, 3, 6 and 9, and hosts read them in this
#: order. A cancel must be read before an order that still lies there.
FIRST, USUAL = 0, 3

#: a source that has not said a word to its order for so long is told to leave it: it has been rung twice
UNANSWERED = timedelta(seconds=60)

#: what a cancelled job waits for
CANCELLING = "Cancelling: the host stops at the next safe point."

NO_KEY = "The portal's signing key cannot be used: staff must look. The job is sent as soon as it can."

NOT_ACCEPTED = "The host has a new key that staff has not accepted yet. The job is sent as soon as it has."
#: what a job waited for until it was sent
PASSING = (*broker_trouble.ALL, CANCEL_AWAY, NOT_ACCEPTED, NO_KEY, restores.HELD)


class Outcome(StrEnum):
    """What came of sending a job's order."""

    SENT = "SENT"
    #: there is nothing to send, or something stands in the way that is this job's or this host's alone
    HELD = "HELD"
    BROKER_AWAY = "BROKER_AWAY"


def send(*, job_id: UUID, now: datetime) -> Outcome:
    """Send the job's order, or the cancel that was asked for instead, to its host."""
    job = (
        Job.objects.select_related("machine__image", "machine__project", "machine__owner", "host")
        .filter(id=job_id)
        .first()
    )
    if job is not None and job.status in Job.OPEN and restores.is_held():
        Job.objects.filter(id=job.id).update(waiting_for=restores.HELD)
        return Outcome.HELD
    if job is not None and job.kind == Job.Kind.MIGRATE:
        return _send_move(job, now)
    if job is None or job.host is None or job.status not in (Job.Status.QUEUED, Job.Status.RUNNING):
        return Outcome.HELD
    if not inventory.is_accepted(host=job.host):
        Job.objects.filter(id=job.id).update(waiting_for=NOT_ACCEPTED)
        return Outcome.HELD
    disks, cards = _parts(job.machine)
    outcome = _ring(job, job.host, orders.order_for(job, job.machine, disks, cards), now)
    if outcome != Outcome.SENT:
        return outcome
    if Job.objects.filter(id=job.id, sent_at=None).update(sent_at=now):
        JobEvent.objects.create(job=job, at=now, event="SENT", message=f"to {job.host.name}")
    else:
        Job.objects.filter(id=job.id).update(sent_at=now)
    _clear_waiting(job)
    return Outcome.SENT


def _clear_waiting(job: Job) -> None:
    """It has been sent: what stood in the way does so no longer."""
    waiting = Job.objects.filter(id=job.id, waiting_for__in=PASSING)
    waiting.update(waiting_for=CANCELLING if job.cancel_asked_at else "")


def _receipt(job: Job, host: Host, order: contract.Order, now: datetime) -> str:
    """The machine as the rows have it, signed for this portal itself; none with what takes a job back."""
    if isinstance(order, contract.CancelJob):
        return ""
    disks, cards = _parts(job.machine)
    receipt = orders.receipt_of(order, job.machine, disks, cards, at=int(now.timestamp()))
    return contract.seal_receipt(receipt, host=host.name, sign=_signer(host))


def _signer(host: Host) -> Callable[[bytes], bytes]:
    return portal_key.signer_for(settings.WEBXEN_PORTAL_KEY_FILE, trusted=host.portal_keys)


def _parts(machine: Machine) -> tuple[list[Disk], list[Interface]]:
    return list(machine.disks.all()), list(machine.interfaces.select_related("network"))


def _ring(job: Job, host: Host, order: contract.Order, now: datetime) -> Outcome:
    # what it is given when it boots; an order that boots nothing does not look at it
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


# --- moves: an order for either side -------------------------------------------------------------


def _send_move(job: Job, now: datetime) -> Outcome:
    """Send each side of a move what it has not answered yet."""
    sides = MoveSide.objects.filter(move=job.move).select_related(
        "host", "move__job", "move__source", "move__target"
    )
    outcomes = {_send_side(job, side, {one.side: one for one in sides}, now) for side in sides}
    order = (Outcome.BROKER_AWAY, Outcome.SENT, Outcome.HELD)
    return next((outcome for outcome in order if outcome in outcomes), Outcome.HELD)


def _send_side(job: Job, side: MoveSide, sides: Mapping[str, MoveSide], now: datetime) -> Outcome:
    order = _order_of(job, side, sides, now)
    quiet = now - timedelta(seconds=settings.WEBXEN_RESEND_SECONDS)
    was_just_rung = side.rung_at is not None and side.rung_at > quiet
    if order is None or was_just_rung or not inventory.is_accepted(host=side.host):
        return Outcome.HELD
    outcome = _ring(job, side.host, order, now)
    if outcome != Outcome.SENT:
        return outcome
    if not job.events.filter(event="SENT", message=f"{order.kind} to {side.host.name}").exists():
        JobEvent.objects.create(job=job, at=now, event="SENT", message=f"{order.kind} to {side.host.name}")
    MoveSide.objects.filter(id=side.id).update(rung_at=now)
    Job.objects.filter(id=job.id).update(sent_at=now)
    _clear_waiting(job)
    return Outcome.SENT


def waits_for_nobody(source: MoveSide, now: datetime) -> bool:
    """Has the source given up before it reached the target, or never begun? The target would wait on."""
    if source.end:
        return bool(source.facts.get("phase", "NONE") == "NONE")
    return source.heard_at is None and _heard_for(source, now) > UNANSWERED


def _heard_for(side: MoveSide, now: datetime) -> timedelta:
    return inventory.heard_for(host=side.host, since=side.ordered_at, now=now)


def _order_of(
    job: Job, side: MoveSide, sides: Mapping[str, MoveSide], now: datetime
) -> contract.Order | None:
    machine = job.machine
    disks, cards = _parts(machine)
    if side.cleaning == MoveSide.Cleaning.ASKED:
        return orders.settle_order(side, machine, disks, cards)
    if side.ordered_at is None or side.end or side.move.phase == Move.Phase.ENDED:
        return None
    is_called_off = job.cancel_asked_at is not None or waits_for_nobody(sides[MoveSide.Side.SOURCE], now)
    if is_called_off and side.move.phase in Move.ACTIVE:
        return orders.cancel_order(job, machine, disks, cards)
    if side.side == MoveSide.Side.TARGET:
        return orders.receive_order(side.move, machine, disks, cards)
    port = int(sides[MoveSide.Side.TARGET].facts.get("port", 0))
    return orders.migrate_order(side.move, port, machine, disks, cards)


def ring(*, host: str, job_id: UUID, envelope: str, priority: int = FIRST, slot: str = "") -> None:
    """Put the envelope on the host's queue, or fail within a second: somebody waits for the answer.

    It takes the place of one that still waits there with the same `slot`: the job's, if none is given.
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
            # only the newest word about a job waits for a host that is away
            headers={transport.SLOT: slot or str(job_id)},
            # Celery would copy the arguments into a header and into logs
            argsrepr="(envelope)",
        )

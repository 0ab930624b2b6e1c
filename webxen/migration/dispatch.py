"""Send the orders of migrations: each of the two hosts gets what it has not answered yet."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from django.conf import settings

from webxen.core.messages import Message
from webxen.inventory import queries as inventory
from webxen.jobs import dispatch
from webxen.jobs import orders as job_orders
from webxen.jobs.kinds import Outcome
from webxen.jobs.models import Job, JobEvent
from webxen.migration import orders
from webxen.migration.models import Move, MoveSide
from worker import contract

#: a source that has reported nothing for this long is sent a cancellation; its order was sent twice by then
SOURCE_UNANSWERED = timedelta(seconds=60)


def send(*, job: Job, now: datetime) -> Outcome:
    """Send each side of a migration what it has not answered yet."""
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
    outcome = dispatch.send_to_host(job, side.host, order, now)
    if outcome != Outcome.SENT:
        return outcome
    said = Message("EVENT_ORDER_TO_HOST", order=order.kind, host=side.host.name)
    if not job.events.filter(event="SENT", message=said).exists():
        JobEvent.objects.create(job=job, at=now, event="SENT", message=said)
    MoveSide.objects.filter(id=side.id).update(rung_at=now)
    Job.objects.filter(id=job.id).update(sent_at=now)
    dispatch.clear_waiting(job)
    return Outcome.SENT


def waits_for_nobody(source: MoveSide, now: datetime) -> bool:
    """Whether the source gave up before it reached the target, or never began: the target waits in vain."""
    if source.end:
        return bool(source.facts.get("phase", "NONE") == "NONE")
    return source.heard_at is None and _heard_for(source, now) > SOURCE_UNANSWERED


def _heard_for(side: MoveSide, now: datetime) -> timedelta:
    return inventory.heard_for(host=side.host, since=side.ordered_at, now=now)


def _order_of(
    job: Job, side: MoveSide, sides: Mapping[str, MoveSide], now: datetime
) -> contract.Order | None:
    machine = job.machine
    disks, cards = dispatch.parts_of(machine)
    if side.cleaning == MoveSide.Cleaning.ASKED:
        return orders.settle_order(side, machine, disks, cards)
    if side.ordered_at is None or side.end or side.move.phase == Move.Phase.ENDED:
        return None
    is_called_off = job.cancel_asked_at is not None or waits_for_nobody(sides[MoveSide.Side.SOURCE], now)
    if is_called_off and side.move.phase in Move.ACTIVE:
        return job_orders.cancel_order(job, machine, disks, cards)
    if side.side == MoveSide.Side.TARGET:
        return orders.receive_order(side.move, machine, disks, cards)
    port = int(sides[MoveSide.Side.TARGET].facts.get("port", 0))
    return orders.migrate_order(side.move, port, machine, disks, cards)

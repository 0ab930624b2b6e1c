"""Automatic balancing: in a weekly window, proposed migrations with enough gain are started.

Each round plans anew from the present state and starts only migrations that can begin at once and finish
within the window. `evacuation` carries them out, as it does those that staff approves.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction

from webxen.accounts.models import User
from webxen.core.errors import NotFoundError
from webxen.core.messages import Message
from webxen.core.windows import Window
from webxen.fleet import evacuation
from webxen.fleet.models import Evacuation
from webxen.fleet.plans import Planned, propose
from webxen.inventory import queries as hosts
from webxen.inventory import restores
from webxen.inventory.models import Host
from webxen.jobs.models import Job
from webxen.machines.models import Machine
from webxen.migration import candidates
from webxen.migration.models import Move

log = logging.getLogger(__name__)

Kind = Evacuation.Kind
#: a machine that the policy migrated, or tried to, is not migrated again for this long
REST = timedelta(hours=12)


@dataclass(frozen=True)
class Policy:
    """The policy's settings, whether it is active now, and its last balancing."""

    window: Window | None
    min_gain_percent: int
    closes_at: datetime | None
    #: why nothing is started although the window is open
    why: str
    last: evacuation.Standing | None


def look_at_policy(*, user: User, now: datetime) -> Policy:
    """Return the policy's settings and state, for staff. Raises NotFoundError."""
    if not user.is_staff:
        raise NotFoundError
    closes_at = _closes_at(now)
    last = Evacuation.objects.filter(kind=Kind.BALANCE, asked_by=None).first()
    return Policy(
        window=settings.WEBXEN_BALANCE_WINDOW,
        min_gain_percent=settings.WEBXEN_BALANCE_MIN_GAIN,
        closes_at=closes_at,
        why=why_not_now(now=now) if closes_at else "",
        last=evacuation.stand_of(last) if last else None,
    )


def _closes_at(now: datetime) -> datetime | None:
    window: Window | None = settings.WEBXEN_BALANCE_WINDOW
    return window.end_if_open(now) if window else None


def run_policy(*, now: datetime) -> Evacuation | None:
    """Periodic work: start the migrations that may begin now; return their evacuation, or None."""
    closes_at = None if restores.is_held() else _closes_at(now)
    return _begin(closes_at, now) if closes_at else None


@transaction.atomic
def _begin(closes_at: datetime, now: datetime) -> Evacuation | None:
    # two concurrent rounds would both see that nothing is in progress
    list(Host.objects.select_for_update().order_by("id"))
    if why := why_not_now(now=now):
        log.info("nothing is balanced now: %s", why)
        return None
    steps = list(_may_begin(propose(now=now), closes_at, now))
    return evacuation.balance_by_policy(steps=steps, now=now) if steps else None


def why_not_now(*, now: datetime) -> str:
    """Return why no migration may begin automatically, or "": all hosts and machines must be in order."""
    for host in hosts.states_of_accepted_hosts():
        if host.state == Host.State.DRAINING:
            return Message("HOST_DRAINING", host=host.name)
        if hosts.is_silent(host=host, now=now):
            return Message("HOST_SILENT_NOW", host=host.name)
    if Evacuation.objects.filter(finished_at=None).exists():
        return Message("MOVES_IN_PROGRESS")
    ready = Machine.objects.filter(state=Machine.State.READY)
    if unknown := ready.filter(power=Machine.Power.UNKNOWN).first():
        return Message("POWER_UNKNOWN", name=unknown.name)
    if lost := Move.objects.filter(phase=Move.Phase.UNKNOWN).select_related("job__machine").first():
        return Message("PLACE_UNKNOWN", name=lost.job.machine.name)
    return ""


def _may_begin(proposed: list[Planned], closes_at: datetime, now: datetime) -> Iterator[Planned]:
    out, into = candidates.busy_hosts()
    limit = settings.WEBXEN_MOVES_PER_HOST
    busy = {name for count in (out, into) for name, moves in count.items() if moves >= limit}
    tried = Job.objects.filter(policy=Kind.BALANCE, created_at__gt=now - REST)
    resting = set(tried.values_list("machine_id", flat=True))
    for step in proposed:
        is_over_in_time = now + timedelta(seconds=step.expected_seconds) <= closes_at
        gains = step.gain_percent >= settings.WEBXEN_BALANCE_MIN_GAIN
        if step.target is None or step.machine.id in resting or not gains or not is_over_in_time:
            continue
        # each was planned as if those before it were finished: those that begin together share no host
        if not busy & {step.source, step.target}:
            yield step
        busy |= {step.source, step.target}

"""Preview of a migration: the possible hosts, before anything is changed. Reads only."""

from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from webxen.accounts.models import User
from webxen.core.errors import ForbiddenError
from webxen.core.messages import Message
from webxen.inventory import queries as inventory
from webxen.jobs import queries
from webxen.machines import lifecycle
from webxen.machines import queries as machine_queries
from webxen.migration import candidates
from webxen.migration.precheck import Fit


@dataclass(frozen=True)
class Option(Fit):
    """A host; `is_choice`: placement chooses it if no host is named."""

    is_choice: bool = False


@dataclass(frozen=True)
class MovePlan:
    #: why the machine cannot migrate at present
    why_not: str
    hosts: list[Option]
    #: number of hosts not examined in a large fleet; they have less free memory
    hosts_left_out: int = 0


def plan_for(*, user: User, machine_id: UUID, one_way_is_fine: bool = False, now: datetime) -> MovePlan:
    """Check hosts as targets; for staff. Raises NotFoundError, ForbiddenError."""
    machine = machine_queries.get_visible(user=user, id=machine_id)
    if not user.is_staff:
        raise ForbiddenError(Message("ONLY_STAFF_MOVES"))
    open_job = queries.open_job_of(machine_id=machine.id)
    why_not = lifecycle.allowed_actions(machine=machine, open_job=open_job, user=user)["migrate"]
    found = candidates.fits(machine=machine, now=now, one_way_is_fine=one_way_is_fine)
    choice = candidates.choose(machine=machine, found=found, now=now)
    options = [_option(fit, is_choice=choice is not None and fit.host == choice.host) for fit in found]
    left_out = max(inventory.count_accepted_hosts() - 1 - len(options), 0) if options else 0
    return MovePlan(why_not, sorted(options, key=lambda one: not one.is_choice), left_out)


def _option(fit: Fit, *, is_choice: bool) -> Option:
    return replace(Option(**vars(fit)), is_choice=is_choice)

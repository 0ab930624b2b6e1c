"""Steps after the database was restored from a backup: revoke credentials, and resume after confirmation.

Between the two steps the portal gives no orders. jobs.evidence detects that a database is older than its
hosts; `readoption` takes machines back.
"""

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from webxen.accounts import operations as accounts
from webxen.accounts.models import User
from webxen.core.messages import Message
from webxen.enrolment import joining
from webxen.inventory import restores
from webxen.inventory.models import Restore
from webxen.jobs import history
from webxen.jobs.models import Job
from webxen.machines.models import Machine
from worker import contract

#: job kinds that are cancelled if the backup still had them queued
TAKEN_BACK = tuple(
    kind
    for kind in contract.JOB_KINDS
    if not contract.VERBS[kind].survives_restore and not contract.VERBS[kind].has_two_hosts
)
SAID_BY_STAFF = Message("BACKUP_RESTORED")


@dataclass(frozen=True)
class Voided:
    """Numbers of revoked credentials."""

    sessions: int
    tokens: int
    join_tokens: int


@transaction.atomic
def begin(*, staff: User | None, keeps_tokens: bool, now: datetime) -> Voided:
    """Stop all orders, and revoke everything that may have been revoked after the backup.

    It is not known which tokens and sessions those are, so all end; `keeps_tokens` keeps API tokens.
    """
    restores.begin(why=SAID_BY_STAFF, staff=staff, now=now)
    return Voided(
        sessions=accounts.end_all_sessions(staff=staff, now=now),
        tokens=0 if keeps_tokens else accounts.revoke_all_tokens(staff=staff, now=now),
        join_tokens=joining.void_unused_tokens(now=now),
    )


@transaction.atomic
def confirm(*, staff: User, now: datetime) -> Restore:
    """Resume orders after staff has checked the database; return the restore. Raises NotFoundError.

    Orders that were queued when the backup was made are cancelled instead of sent again, because they may
    have been cancelled since. Hosts report whether each had been carried out.
    """
    restore = restores.end(staff=staff, now=now)
    old = Job.objects.filter(status=Job.Status.QUEUED, kind__in=TAKEN_BACK, cancel_asked_at=None)
    for job in old.filter(created_at__lte=restore.begun_at):
        Job.objects.filter(id=job.id, status=Job.Status.QUEUED).update(cancel_asked_at=now, sent_at=None)
        history.note(job=job, event="CANCEL_ASKED", now=now, message=Message("EVENT_RESTORED"))
    Job.objects.filter(waiting_for=restores.HELD).update(waiting_for="")
    Machine.objects.filter(state_reason=restores.HELD).update(state_reason="")
    return restore

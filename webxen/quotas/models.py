"""Quota, Reservation and QuotaEntry. The database refuses an overdraft that is not written down as one.

What stands above a limit (staff lowered it, or a host shows a machine running that had no room) is held
in an `_overdraft` column, which is always exactly the excess: a forgotten UPDATE of what is reserved, up
or down, breaks that equation and is refused.
"""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from webxen.accounts.models import Project

#: what machines that exist hold, as column names without their ending
ALLOCATED = ("machines", "vcpus", "memory_mib", "disk_gib")
#: what machines that are on hold besides; its limits may be left open
RUNNING = ("running_vcpus", "running_memory_mib")
RESOURCES = ALLOCATED + RUNNING


def _all(conditions: list[Q]) -> Q:
    whole = Q()
    for condition in conditions:
        whole &= condition
    return whole


def _is_within(name: str) -> Q:
    """Inside the limit with no overdraft, or above it by exactly the overdraft."""
    limit, reserved, overdraft = f"{name}_limit", f"{name}_reserved", f"{name}_overdraft"
    inside = Q(**{overdraft: 0, f"{reserved}__lte": F(limit)})
    above = Q(**{f"{limit}__isnull": False, f"{overdraft}__gt": 0, reserved: F(limit) + F(overdraft)})
    return inside | above | Q(**{f"{limit}__isnull": True, overdraft: 0})


class Quota(models.Model):
    """What a project may have, the sum of its open reservations, and what of that is above the limit."""

    project = models.OneToOneField(Project, on_delete=models.PROTECT, related_name="quota")
    machines_limit = models.PositiveIntegerField()
    vcpus_limit = models.PositiveIntegerField()
    memory_mib_limit = models.PositiveIntegerField()
    disk_gib_limit = models.PositiveIntegerField()
    #: of machines that are on; null: not limited apart
    running_vcpus_limit = models.PositiveIntegerField(null=True)
    running_memory_mib_limit = models.PositiveIntegerField(null=True)
    machines_reserved = models.PositiveIntegerField(default=0)
    vcpus_reserved = models.PositiveIntegerField(default=0)
    memory_mib_reserved = models.PositiveIntegerField(default=0)
    disk_gib_reserved = models.PositiveIntegerField(default=0)
    running_vcpus_reserved = models.PositiveIntegerField(default=0, db_default=0)
    running_memory_mib_reserved = models.PositiveIntegerField(default=0, db_default=0)
    machines_overdraft = models.PositiveIntegerField(default=0, db_default=0)
    vcpus_overdraft = models.PositiveIntegerField(default=0, db_default=0)
    memory_mib_overdraft = models.PositiveIntegerField(default=0, db_default=0)
    disk_gib_overdraft = models.PositiveIntegerField(default=0, db_default=0)
    running_vcpus_overdraft = models.PositiveIntegerField(default=0, db_default=0)
    running_memory_mib_overdraft = models.PositiveIntegerField(default=0, db_default=0)

    class Meta:
        # The conditional UPDATE in operations refuses first; these hold if anybody forgets it.
        constraints = (
            models.CheckConstraint(
                condition=_all([Q(**{f"{name}_reserved__gte": 0}) for name in RESOURCES]),
                name="no_more_is_released_than_was_reserved",
            ),
            models.CheckConstraint(
                condition=_all([_is_within(name) for name in ALLOCATED]),
                name="a_project_reserves_no_more_than_its_quota",
            ),
            models.CheckConstraint(
                condition=_all([_is_within(name) for name in RUNNING]),
                name="a_project_runs_no_more_than_its_quota",
            ),
        )

    def __str__(self) -> str:
        return f"quota of {self.project}"


class Reservation(models.Model):
    """What one machine holds of its project's quota, from the job that makes it to the one that ends it."""

    class Status(models.TextChoices):
        RESERVED = "RESERVED"
        COMMITTED = "COMMITTED"
        RELEASED = "RELEASED"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    quota = models.ForeignKey(Quota, on_delete=models.PROTECT, related_name="reservations")
    #: whom it is for: a machine's id, which is never used again
    holder = models.UUIDField(unique=True)
    status = models.CharField(max_length=12, choices=Status, default=Status.RESERVED)
    vcpus = models.PositiveIntegerField()
    memory_mib = models.PositiveIntegerField()
    disk_gib = models.PositiveIntegerField()
    #: its processors and memory count as running as well
    is_running = models.BooleanField(default=False, db_default=False)
    created_at = models.DateTimeField()
    released_at = models.DateTimeField(null=True)

    class Meta:
        constraints = (
            models.CheckConstraint(
                condition=~Q(status="RELEASED", is_running=True),
                name="what_was_given_back_does_not_run",
            ),
        )

    def __str__(self) -> str:
        return f"{self.status} {self.vcpus} vCPU, {self.memory_mib} MiB, {self.disk_gib} GiB"


class QuotaEntry(models.Model):
    """One line of the ledger: what was added or taken away, when, for whom, why. Never changed.

    The sum of a quota's lines is what its columns say; `queries.drift` compares. A trigger of the
    database refuses to change a line.
    """

    class Kind(models.TextChoices):
        #: what was held when the ledger was begun
        OPENING = "OPENING"
        RESERVE = "RESERVE"
        COMMIT = "COMMIT"
        RELEASE = "RELEASE"
        CHANGE = "CHANGE"
        HOLD = "HOLD"
        UNHOLD = "UNHOLD"
        #: staff put right what had drifted
        SETTLE = "SETTLE"

    quota = models.ForeignKey(Quota, on_delete=models.PROTECT, related_name="entries")
    #: null: about the columns themselves, not about one machine
    holder = models.UUIDField(null=True, db_index=True)
    kind = models.CharField(max_length=12, choices=Kind)
    machines = models.IntegerField(default=0)
    vcpus = models.IntegerField(default=0)
    memory_mib = models.IntegerField(default=0)
    disk_gib = models.IntegerField(default=0)
    running_vcpus = models.IntegerField(default=0)
    running_memory_mib = models.IntegerField(default=0)
    why = models.TextField(blank=True)
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()

    class Meta:
        ordering = ("id",)

    def __str__(self) -> str:
        return f"{self.kind} {self.machines} machines, {self.vcpus} vCPU, {self.memory_mib} MiB"

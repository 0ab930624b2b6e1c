"""Models: Quota, Reservation, QuotaEntry. Constraints refuse an excess that is not recorded as overdraft.

What exceeds a limit (staff lowered it, or a host reports a running machine that had no room) is in an
`_overdraft` column, which always equals the excess: changing what is reserved without updating it violates a
constraint.
"""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from webxen.accounts.models import Project
from webxen.core.messages import MessageField

#: resources of existing machines, as column names without their suffix
ALLOCATED = ("machines", "vcpus", "memory_mib", "disk_gib")
#: additional resources of running machines; their limits are optional
RUNNING = ("running_vcpus", "running_memory_mib")
RESOURCES = ALLOCATED + RUNNING


def _all(conditions: list[Q]) -> Q:
    whole = Q()
    for condition in conditions:
        whole &= condition
    return whole


def _is_within(name: str) -> Q:
    """Within the limit without overdraft, or above it by exactly the overdraft."""
    limit, reserved, overdraft = f"{name}_limit", f"{name}_reserved", f"{name}_overdraft"
    inside = Q(**{overdraft: 0, f"{reserved}__lte": F(limit)})
    above = Q(**{f"{limit}__isnull": False, f"{overdraft}__gt": 0, reserved: F(limit) + F(overdraft)})
    return inside | above | Q(**{f"{limit}__isnull": True, overdraft: 0})


class Quota(models.Model):
    """A project's limits, the sums of its open reservations, and what exceeds the limits."""

    project = models.OneToOneField(Project, on_delete=models.PROTECT, related_name="quota")
    machines_limit = models.PositiveIntegerField()
    vcpus_limit = models.PositiveIntegerField()
    memory_mib_limit = models.PositiveIntegerField()
    disk_gib_limit = models.PositiveIntegerField()
    #: of running machines; null: not limited separately
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
        # The conditional UPDATE of ledger.move refuses first; these catch code that bypasses it.
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
    """What one machine holds of its project's quota, from its creation to its deletion."""

    class Status(models.TextChoices):
        RESERVED = "RESERVED"
        COMMITTED = "COMMITTED"
        RELEASED = "RELEASED"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    quota = models.ForeignKey(Quota, on_delete=models.PROTECT, related_name="reservations")
    #: the machine's id, which is never reused
    holder = models.UUIDField(unique=True)
    status = models.CharField(max_length=12, choices=Status, default=Status.RESERVED)
    vcpus = models.PositiveIntegerField()
    memory_mib = models.PositiveIntegerField()
    disk_gib = models.PositiveIntegerField()
    #: its vCPUs and memory also count as running
    is_running = models.BooleanField(default=False, db_default=False)
    created_at = models.DateTimeField()
    released_at = models.DateTimeField(null=True)

    class Meta:
        indexes = (
            models.Index(fields=("quota", "-memory_mib", "created_at", "id"), name="the_largest_of_a_quota"),
            models.Index(
                fields=("quota", "status", "is_running", "vcpus", "memory_mib", "disk_gib"),
                name="sums_of_a_quota",
            ),
        )
        constraints = (
            models.CheckConstraint(
                condition=~Q(status="RELEASED", is_running=True),
                name="what_was_given_back_does_not_run",
            ),
        )

    def __str__(self) -> str:
        return f"{self.status} {self.vcpus} vCPU, {self.memory_mib} MiB, {self.disk_gib} GiB"


class QuotaEntry(models.Model):
    """One ledger entry: what was added or released, when, for which machine, why. Never changed.

    A quota's columns equal the sum of its entries; `queries.drift` compares them. A database trigger refuses
    changes of an entry.
    """

    class Kind(models.TextChoices):
        #: what was held when the ledger was introduced
        OPENING = "OPENING"
        RESERVE = "RESERVE"
        COMMIT = "COMMIT"
        RELEASE = "RELEASE"
        CHANGE = "CHANGE"
        HOLD = "HOLD"
        UNHOLD = "UNHOLD"
        #: staff corrected a difference
        SETTLE = "SETTLE"

    quota = models.ForeignKey(Quota, on_delete=models.PROTECT, related_name="entries")
    #: null: about the columns, not about one machine
    holder = models.UUIDField(null=True, db_index=True)
    kind = models.CharField(max_length=12, choices=Kind)
    machines = models.IntegerField(default=0)
    vcpus = models.IntegerField(default=0)
    memory_mib = models.IntegerField(default=0)
    disk_gib = models.IntegerField(default=0)
    running_vcpus = models.IntegerField(default=0)
    running_memory_mib = models.IntegerField(default=0)
    why = MessageField(blank=True)
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()

    class Meta:
        ordering = ("id",)

    def __str__(self) -> str:
        return f"{self.kind} {self.machines} machines, {self.vcpus} vCPU, {self.memory_mib} MiB"

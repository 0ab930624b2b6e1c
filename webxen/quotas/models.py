"""Quota and Reservation. The database itself refuses an overdraft."""

import uuid

from django.db import models
from django.db.models import F, Q

from webxen.accounts.models import Project


class Quota(models.Model):
    """What a project may have, and the sum of its open reservations."""

    project = models.OneToOneField(Project, on_delete=models.PROTECT, related_name="quota")
    machines_limit = models.PositiveIntegerField()
    vcpus_limit = models.PositiveIntegerField()
    memory_mib_limit = models.PositiveIntegerField()
    disk_gib_limit = models.PositiveIntegerField()
    machines_reserved = models.PositiveIntegerField(default=0)
    vcpus_reserved = models.PositiveIntegerField(default=0)
    memory_mib_reserved = models.PositiveIntegerField(default=0)
    disk_gib_reserved = models.PositiveIntegerField(default=0)

    class Meta:
        # The conditional UPDATE in operations refuses first; these hold if anybody forgets it.
        constraints = (
            models.CheckConstraint(
                condition=Q(machines_reserved__gte=0)
                & Q(vcpus_reserved__gte=0)
                & Q(memory_mib_reserved__gte=0)
                & Q(disk_gib_reserved__gte=0),
                name="no_more_is_released_than_was_reserved",
            ),
            models.CheckConstraint(
                condition=Q(machines_reserved__lte=F("machines_limit"))
                & Q(vcpus_reserved__lte=F("vcpus_limit"))
                & Q(memory_mib_reserved__lte=F("memory_mib_limit"))
                & Q(disk_gib_reserved__lte=F("disk_gib_limit")),
                name="a_project_reserves_no_more_than_its_quota",
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
    created_at = models.DateTimeField()
    released_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.status} {self.vcpus} vCPU, {self.memory_mib} MiB, {self.disk_gib} GiB"

"""Models: MachineRequest and QuotaRequest, with their decisions."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from webxen.accounts.models import Project
from webxen.core.messages import MessageField
from webxen.inventory.models import Image, Network, Size
from webxen.jobs.models import Job
from webxen.machines.models import Machine


class MachineRequest(models.Model):
    """A request for a machine; not changed after it was made."""

    class Status(models.TextChoices):
        PENDING = "PENDING"
        APPROVED = "APPROVED"
        REJECTED = "REJECTED"
        WITHDRAWN = "WITHDRAWN"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    requester = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="machine_requests"
    )
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="requests")
    name = models.CharField(max_length=63)
    image = models.ForeignKey(Image, on_delete=models.PROTECT, related_name="+")
    size = models.ForeignKey(Size, null=True, on_delete=models.PROTECT, related_name="+")
    network = models.ForeignKey(Network, null=True, on_delete=models.PROTECT, related_name="+")
    vcpus = models.PositiveSmallIntegerField()
    memory_mib = models.PositiveIntegerField()
    disk_gib = models.PositiveIntegerField()
    #: {ssh_keys, password_hash, user_data}: a hash, never the password; emptied by the decision
    seed = models.JSONField(default=dict)
    reason = models.TextField(blank=True)
    status = models.CharField(max_length=12, choices=Status, default=Status.PENDING)
    #: why it was not approved automatically, one sentence
    why_pending = MessageField(blank=True)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    decided_at = models.DateTimeField(null=True)
    #: reason of a rejection, written by staff
    decision_reason = models.TextField(blank=True)
    machine = models.OneToOneField(Machine, null=True, on_delete=models.PROTECT, related_name="request")
    job = models.ForeignKey(Job, null=True, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(db_index=True)

    class Meta:
        ordering = ("-created_at",)
        constraints = (
            models.UniqueConstraint(
                fields=("project", "name"),
                condition=Q(status="PENDING"),
                name="a_pending_request_reserves_its_name",
            ),
        )

    def __str__(self) -> str:
        return self.name


class QuotaRequest(models.Model):
    """A request for higher limits of a project, which can be changed while it is pending.

    An approval names the version that staff looked at, and grants exactly its values.
    """

    Status = MachineRequest.Status

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    requester = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="quota_requests"
    )
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="quota_requests")
    #: complete limits, not increments: the same request sent twice asks for the same
    machines = models.PositiveIntegerField()
    vcpus = models.PositiveIntegerField()
    memory_mib = models.PositiveIntegerField()
    disk_gib = models.PositiveIntegerField()
    #: null: unchanged
    running_vcpus = models.PositiveIntegerField(null=True)
    running_memory_mib = models.PositiveIntegerField(null=True)
    reason = models.TextField()
    #: increases with every change of the limits or the reason
    version = models.PositiveIntegerField(default=1)
    status = models.CharField(max_length=12, choices=Status, default=Status.PENDING)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    decided_at = models.DateTimeField(null=True)
    #: reason of a rejection, written by staff
    decision_reason = models.TextField(blank=True)
    created_at = models.DateTimeField(db_index=True)

    class Meta:
        ordering = ("-created_at",)
        constraints = (
            models.UniqueConstraint(
                fields=("project", "requester"),
                condition=Q(status="PENDING"),
                name="one_open_quota_request_a_person_and_project",
            ),
            models.CheckConstraint(
                condition=~Q(status="APPROVED")
                | (Q(decided_by__isnull=False) & ~Q(decided_by=F("requester"))),
                name="nobody_grants_their_own_quota",
            ),
        )

    def __str__(self) -> str:
        return f"quota for {self.project}"

"""Models: Job, JobEvent, RoundFailure.

Only `status` writes Job.status, by its table of transitions.
"""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q

from webxen.core.messages import MessageField
from webxen.inventory.models import Host
from webxen.machines.models import Machine
from worker import contract


class Job(models.Model):
    """An order to change a machine. The row is authoritative; the Celery message only wakes the worker."""

    class Status(models.TextChoices):
        #: accepted, waiting for a host with room (create only)
        PENDING = "PENDING"
        QUEUED = "QUEUED"
        RUNNING = "RUNNING"
        SUCCEEDED = "SUCCEEDED"
        #: an expected failure, explained to the owner with its fix
        FAILED = "FAILED"
        #: a bug of the portal or an unexpected exception of the worker: see `error_reference`
        ERROR = "ERROR"
        CANCELLED = "CANCELLED"

    class Kind(models.TextChoices):
        """The kinds that code distinguishes. All kinds are rows of `contract.VERBS`."""

        CREATE = "CREATE"
        START = "START"
        DELETE = "DELETE"
        #: involves two hosts: has a Move row of the app `migration`
        MIGRATE = "MIGRATE"

    OPEN = ("PENDING", "QUEUED", "RUNNING")
    ENDED_BADLY = ("FAILED", "ERROR")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    #: a key of `contract.VERBS`, without choices, so that a new verb needs no migration
    kind = models.CharField(max_length=32)
    machine = models.ForeignKey(Machine, on_delete=models.PROTECT, related_name="jobs")
    host = models.ForeignKey(Host, null=True, on_delete=models.PROTECT, related_name="jobs")
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    #: the policy that requested it, if no user did: BALANCE
    policy = models.CharField(max_length=16, blank=True, default="", db_default="")
    status = models.CharField(max_length=12, choices=Status, default=Status.QUEUED)
    fence = models.PositiveBigIntegerField()
    progress = models.PositiveSmallIntegerField(default=0)
    step = models.CharField(max_length=24, blank=True)
    #: highest sequence number of its reports: late reports are ignored
    sequence = models.IntegerField(default=-1)
    error_code = models.CharField(max_length=40, blank=True)
    error_message = MessageField(blank=True)
    #: reference of an unexpected error in the log of the host's worker
    error_reference = models.CharField(max_length=40, blank=True, default="", db_default="")
    is_retryable = models.BooleanField(default=False)
    console_tail = models.TextField(blank=True)
    #: host whose lease of the disks this start may break, because staff confirmed that it is off
    takes_over_from = models.CharField(
        max_length=contract.MAX_HOST_NAME, blank=True, default="", db_default=""
    )
    #: what it waits for, shown while it is open
    waiting_for = MessageField(blank=True)
    #: when it was cancelled; it ends when the host reports the result
    cancel_asked_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(db_index=True)
    sent_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    heard_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("-created_at",)
        indexes = (models.Index(fields=("status", "-created_at"), name="jobs_by_status"),)
        constraints = (
            models.UniqueConstraint(
                fields=("machine",),
                condition=Q(status__in=("PENDING", "QUEUED", "RUNNING")),
                name="one_open_job_per_machine",
            ),
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.machine}"


class JobEvent(models.Model):
    """An append-only event of a job."""

    job = models.ForeignKey(Job, on_delete=models.PROTECT, related_name="events")
    at = models.DateTimeField()
    #: QUEUED, SENT, STARTED, STEP, SUCCEEDED, FAILED, ERROR, CANCELLED …
    event = models.CharField(max_length=16)
    step = models.CharField(max_length=24, blank=True)
    progress = models.PositiveSmallIntegerField(default=0)
    message = MessageField(blank=True)

    class Meta:
        ordering = ("id",)

    def __str__(self) -> str:
        return f"{self.event} {self.step}"


class RoundFailure(models.Model):
    """An error in the last round of periodic work; the row is deleted when the item succeeds."""

    step = models.CharField(max_length=40)
    #: the job, migration or host: its id or name
    about = models.CharField(max_length=80)
    #: the exception's class; its text might contain secrets
    error = models.CharField(max_length=80)
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()
    times = models.PositiveIntegerField(default=1)

    class Meta:
        ordering = ("step", "about")
        constraints = (
            models.UniqueConstraint(fields=("step", "about"), name="a_round_notes_a_failure_once"),
        )

    def __str__(self) -> str:
        return f"{self.step} {self.about}"

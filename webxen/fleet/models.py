"""Models: Evacuation with its steps, and Fencing.

The tables keep the names of the app `jobs`, where they were created.
"""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q

from webxen.core.messages import MessageField
from webxen.inventory.models import Host
from webxen.jobs.models import Job
from webxen.machines.models import Machine


class Evacuation(models.Model):
    """A plan of migrations that is carried out: a host evacuated, brought back, or a cluster balanced."""

    class Kind(models.TextChoices):
        DRAIN = "DRAIN"
        BRING_BACK = "BRING_BACK"
        BALANCE = "BALANCE"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(max_length=12, choices=Kind)
    #: the host concerned; null for balancing
    host = models.ForeignKey(Host, null=True, on_delete=models.PROTECT, related_name="evacuations")
    #: null: by policy
    asked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField(db_index=True)
    #: completed or stopped
    finished_at = models.DateTimeField(null=True)
    is_stopped = models.BooleanField(default=False)
    #: machines that can only migrate cold are shut down for it, and those that are off are migrated too
    may_shut_down = models.BooleanField(default=False, db_default=False)

    class Meta:
        db_table = "jobs_evacuation"
        ordering = ("-created_at",)
        constraints = (
            models.UniqueConstraint(
                fields=("host",), condition=Q(finished_at=None), name="one_open_evacuation_per_host"
            ),
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.host or ''}"


class EvacuationStep(models.Model):
    """One machine of an evacuation."""

    class Progress(models.TextChoices):
        WAITING = "WAITING"
        MOVING = "MOVING"
        MOVED = "MOVED"
        FAILED = "FAILED"
        #: known in advance, with the reason
        CANNOT = "CANNOT"
        #: it left otherwise, or was deleted
        GONE = "GONE"

    evacuation = models.ForeignKey(Evacuation, on_delete=models.PROTECT, related_name="steps")
    machine = models.ForeignKey(Machine, on_delete=models.PROTECT, related_name="+")
    source = models.ForeignKey(Host, on_delete=models.PROTECT, related_name="+")
    target = models.ForeignKey(Host, null=True, on_delete=models.PROTECT, related_name="+")
    progress = models.CharField(max_length=8, choices=Progress, default=Progress.WAITING)
    why = MessageField(blank=True)
    expected_seconds = models.PositiveIntegerField(default=0)
    job = models.ForeignKey(Job, null=True, on_delete=models.PROTECT, related_name="+")

    class Meta:
        db_table = "jobs_evacuationstep"
        ordering = ("id",)
        constraints = (
            models.UniqueConstraint(
                fields=("evacuation", "machine"), name="a_machine_is_once_in_an_evacuation"
            ),
        )

    def __str__(self) -> str:
        return f"{self.machine} {self.progress}"


class Fencing(models.Model):
    """A silent host being powered off by its fence agent, with the agent's output."""

    class Phase(models.TextChoices):
        #: requested
        ASKED = "ASKED"
        #: the agent is running
        RUNNING = "RUNNING"
        #: the agent was asked for the status afterwards, and reported that the host is off
        OFF = "OFF"
        #: not proven to be off: nothing was started elsewhere
        FAILED = "FAILED"

    OPEN = ("ASKED", "RUNNING")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    host = models.ForeignKey(Host, on_delete=models.PROTECT, related_name="fencings")
    asked_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    agent = models.CharField(max_length=48)
    phase = models.CharField(max_length=8, choices=Phase, default=Phase.ASKED)
    created_at = models.DateTimeField(db_index=True)
    begun_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    #: exit codes of the agent for `off` and for `status`; null: not called
    off_exit = models.IntegerField(null=True)
    status_exit = models.IntegerField(null=True)
    #: end of the agent's output, without secret parameters
    said = models.TextField(blank=True)
    #: why the host is not considered off, or why nothing started although it is
    why = MessageField(blank=True)
    machines_started = models.PositiveIntegerField(default=0)

    class Meta:
        db_table = "jobs_fencing"
        ordering = ("-created_at",)
        constraints = (
            models.UniqueConstraint(
                fields=("host",),
                condition=Q(phase__in=("ASKED", "RUNNING")),
                name="one_open_fencing_per_host",
            ),
        )

    def __str__(self) -> str:
        return f"{self.agent} {self.host}"

"""Job and JobEvent; beside a job over two hosts Move with a MoveSide each; Evacuation, of many; Fencing.

Status is written through conditional UPDATEs alone: by operations, and by moving for jobs over two hosts.
"""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q

from webxen.inventory.models import Host
from webxen.machines.models import Machine


class Job(models.Model):
    """Our row about an order: the truth. The Celery message is only a doorbell."""

    class Status(models.TextChoices):
        #: accepted, waiting for a host with room (create only)
        PENDING = "PENDING"
        QUEUED = "QUEUED"
        RUNNING = "RUNNING"
        SUCCEEDED = "SUCCEEDED"
        FAILED = "FAILED"
        CANCELLED = "CANCELLED"

    class Kind(models.TextChoices):
        CREATE = "CREATE"
        START = "START"
        SHUTDOWN = "SHUTDOWN"
        POWEROFF = "POWEROFF"
        REBOOT = "REBOOT"
        DELETE = "DELETE"
        #: over two hosts: beside it stands a Move
        MIGRATE = "MIGRATE"

    OPEN = ("PENDING", "QUEUED", "RUNNING")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(max_length=12, choices=Kind)
    machine = models.ForeignKey(Machine, on_delete=models.PROTECT, related_name="jobs")
    host = models.ForeignKey(Host, null=True, on_delete=models.PROTECT, related_name="jobs")
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    #: the policy that asked for it, where no person did: BALANCE
    policy = models.CharField(max_length=16, blank=True, default="", db_default="")
    status = models.CharField(max_length=12, choices=Status, default=Status.QUEUED)
    fence = models.PositiveBigIntegerField()
    progress = models.PositiveSmallIntegerField(default=0)
    step = models.CharField(max_length=24, blank=True)
    #: highest report sequence heard: late news moves nothing
    sequence = models.IntegerField(default=-1)
    error_code = models.CharField(max_length=40, blank=True)
    error_message = models.TextField(blank=True)
    is_retryable = models.BooleanField(default=False)
    console_tail = models.TextField(blank=True)
    #: host whose hold on the disks this start may break: staff has said that it is off
    takes_over_from = models.CharField(max_length=40, blank=True, default="", db_default="")
    #: what it waits for, shown while PENDING
    waiting_for = models.TextField(blank=True)
    #: somebody took it back; it ends when the host has said how
    cancel_asked_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(db_index=True)
    sent_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    heard_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("-created_at",)
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
    """Append-only: what happened in a job."""

    job = models.ForeignKey(Job, on_delete=models.PROTECT, related_name="events")
    at = models.DateTimeField()
    #: QUEUED, SENT, STARTED, STEP, SUCCEEDED, FAILED, CANCELLED …
    event = models.CharField(max_length=16)
    step = models.CharField(max_length=24, blank=True)
    progress = models.PositiveSmallIntegerField(default=0)
    message = models.TextField(blank=True)

    class Meta:
        ordering = ("id",)

    def __str__(self) -> str:
        return f"{self.event} {self.step}"


class Move(models.Model):
    """A machine on its way from one host to another: stands beside its job MIGRATE."""

    class Method(models.TextChoices):
        #: it runs on while its memory is copied
        LIVE = "LIVE"
        #: saved, carried over, restored: away for as long as that takes
        SUSPENDED = "SUSPENDED"
        #: off, or shut down for it; disks that the target does not see are carried over
        COLD = "COLD"

    class Phase(models.TextChoices):
        #: one of the hosts is busy with another move
        WAITING = "WAITING"
        #: the target looks whether it can take it, and opens its door
        PREPARING = "PREPARING"
        #: the source sends
        MOVING = "MOVING"
        #: decided; what is left on either host is cleaned up
        SETTLING = "SETTLING"
        #: the facts do not decide, or a host cannot be seen: nothing is started
        UNKNOWN = "UNKNOWN"
        ENDED = "ENDED"

    class Verdict(models.TextChoices):
        MOVED = "MOVED"
        STAYED = "STAYED"
        UNKNOWN = "UNKNOWN"

    #: phases in which a host works at it
    ACTIVE = ("PREPARING", "MOVING")

    job = models.OneToOneField(Job, primary_key=True, on_delete=models.PROTECT, related_name="move")
    source = models.ForeignKey(Host, on_delete=models.PROTECT, related_name="moves_out")
    target = models.ForeignKey(Host, on_delete=models.PROTECT, related_name="moves_in")
    method = models.CharField(max_length=12, choices=Method)
    phase = models.CharField(max_length=12, choices=Phase, default=Phase.WAITING, db_index=True)
    #: bandwidth cap, 0: none
    rate_mib_s = models.PositiveIntegerField(default=0)
    deadline_seconds = models.PositiveIntegerField()
    #: COLD: ids of the disks that are carried over
    copied = models.JSONField(default=list)
    #: COLD: it ran, so it is shut down first and started on the target
    restarts = models.BooleanField(default=False, db_default=False)
    verdict = models.CharField(max_length=8, choices=Verdict, blank=True)
    #: which row of the table decided, as a sentence
    why = models.TextField(blank=True)
    begun_at = models.DateTimeField(null=True)
    decided_at = models.DateTimeField(null=True)
    #: COLD, moved: when the source was told to let go what was copied, and when it had
    discard_asked_at = models.DateTimeField(null=True)
    discarded_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.source} → {self.target}"

    @property
    def is_keeping(self) -> bool:
        """Has the source still got the disks that were copied?"""
        has_moved = self.phase == self.Phase.ENDED and self.verdict == self.Verdict.MOVED
        return bool(self.copied) and has_moved and self.discarded_at is None


class MoveSide(models.Model):
    """What one of the two hosts was told and has said. Its facts are believed about itself alone."""

    class Side(models.TextChoices):
        SOURCE = "SOURCE"
        TARGET = "TARGET"

    class Cleaning(models.TextChoices):
        NONE = ""
        #: told the verdict, not yet confirmed
        ASKED = "ASKED"
        DONE = "DONE"
        #: it sees something that contradicts the verdict
        REFUSED = "REFUSED"

    move = models.ForeignKey(Move, on_delete=models.PROTECT, related_name="sides")
    side = models.CharField(max_length=6, choices=Side)
    host = models.ForeignKey(Host, on_delete=models.PROTECT, related_name="+")
    #: highest report sequence heard of this host: late news moves nothing
    sequence = models.IntegerField(default=-1)
    #: contract.MoveFacts as JSON, and when they were heard
    facts = models.JSONField(default=dict)
    facts_at = models.DateTimeField(null=True)
    #: when its order was first sent; null: it was never asked to do anything
    ordered_at = models.DateTimeField(null=True)
    rung_at = models.DateTimeField(null=True)
    heard_at = models.DateTimeField(null=True)
    #: how its order ended: SUCCEEDED, FAILED, CANCELLED; empty while it has not
    end = models.CharField(max_length=12, blank=True)
    ended_at = models.DateTimeField(null=True)
    error_code = models.CharField(max_length=40, blank=True)
    error_message = models.TextField(blank=True)
    cleaning = models.CharField(max_length=8, choices=Cleaning, blank=True, default=Cleaning.NONE)
    cleaning_message = models.TextField(blank=True)
    #: the host's own job for that: another attempt is another job
    cleaning_job = models.UUIDField(null=True, db_index=True)
    #: refusals so far: after a few the move waits for a person
    refusals = models.PositiveSmallIntegerField(default=0)

    class Meta:
        ordering = ("side",)
        constraints = (
            models.UniqueConstraint(fields=("move", "side"), name="a_move_has_one_row_for_each_side"),
        )

    def __str__(self) -> str:
        return f"{self.side} {self.host}"


class Evacuation(models.Model):
    """A host being emptied, or its machines being brought back: a plan that is worked off, move by move."""

    class Kind(models.TextChoices):
        DRAIN = "DRAIN"
        BRING_BACK = "BRING_BACK"
        BALANCE = "BALANCE"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(max_length=12, choices=Kind)
    #: the host it is about; none for a balancing
    host = models.ForeignKey(Host, null=True, on_delete=models.PROTECT, related_name="evacuations")
    #: none: by policy
    asked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField(db_index=True)
    #: worked off, or stopped
    finished_at = models.DateTimeField(null=True)
    is_stopped = models.BooleanField(default=False)
    #: machines that cannot move otherwise are shut down for it, and those that are off are moved
    may_shut_down = models.BooleanField(default=False, db_default=False)

    class Meta:
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
        #: known beforehand, with the reason
        CANNOT = "CANNOT"
        #: it left by itself, or was deleted
        GONE = "GONE"

    evacuation = models.ForeignKey(Evacuation, on_delete=models.PROTECT, related_name="steps")
    machine = models.ForeignKey(Machine, on_delete=models.PROTECT, related_name="+")
    source = models.ForeignKey(Host, on_delete=models.PROTECT, related_name="+")
    target = models.ForeignKey(Host, null=True, on_delete=models.PROTECT, related_name="+")
    progress = models.CharField(max_length=8, choices=Progress, default=Progress.WAITING)
    why = models.TextField(blank=True)
    expected_seconds = models.PositiveIntegerField(default=0)
    job = models.ForeignKey(Job, null=True, on_delete=models.PROTECT, related_name="+")

    class Meta:
        ordering = ("id",)
        constraints = (
            models.UniqueConstraint(
                fields=("evacuation", "machine"), name="a_machine_is_once_in_an_evacuation"
            ),
        )

    def __str__(self) -> str:
        return f"{self.machine} {self.progress}"


class Fencing(models.Model):
    """A silent host being switched off by its fence agent, and what the agent said of it."""

    class Phase(models.TextChoices):
        #: somebody wants it
        ASKED = "ASKED"
        #: the agent is at work
        RUNNING = "RUNNING"
        #: the agent was asked afterwards, and said that the host is off
        OFF = "OFF"
        #: not believed to be off: nothing was started elsewhere
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
    #: how the agent ended when told to switch off, and when asked for the power; null: it was not
    off_exit = models.IntegerField(null=True)
    status_exit = models.IntegerField(null=True)
    #: the agent's last words, without what it was told in confidence
    said = models.TextField(blank=True)
    #: why the host is not believed to be off, or why nothing started although it is
    why = models.TextField(blank=True)
    machines_started = models.PositiveIntegerField(default=0)

    class Meta:
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


class RoundFailure(models.Model):
    """Something that raised an error in the clock's last round; the row goes when its turn succeeds."""

    step = models.CharField(max_length=40)
    #: which job, move or host: its id or name
    about = models.CharField(max_length=80)
    #: the exception's class; its text may hold what nobody should read
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

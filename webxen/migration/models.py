"""Models: Move, next to its job of kind MIGRATE, and a MoveSide for each host. `phases` writes the phase.

The tables keep the names of the app `jobs`, where they were created.
"""

from django.db import models

from webxen.core.messages import MessageField
from webxen.inventory.models import Host
from webxen.jobs.models import Job


class Move(models.Model):
    """A migration of a machine from one host to another; extends its job of kind MIGRATE."""

    class Method(models.TextChoices):
        #: it runs while its memory is copied
        LIVE = "LIVE"
        #: saved, copied, restored: it does not run meanwhile
        SUSPENDED = "SUSPENDED"
        #: off, or shut down for it; disks that the target does not see are copied
        COLD = "COLD"

    class Phase(models.TextChoices):
        #: one of the hosts is busy with another migration
        WAITING = "WAITING"
        #: the target checks whether it can take the machine, and listens
        PREPARING = "PREPARING"
        #: the source sends
        MOVING = "MOVING"
        #: decided; both hosts clean up
        SETTLING = "SETTLING"
        #: the facts do not decide, or a host does not report: nothing is started
        UNKNOWN = "UNKNOWN"
        ENDED = "ENDED"

    class Verdict(models.TextChoices):
        MOVED = "MOVED"
        STAYED = "STAYED"
        UNKNOWN = "UNKNOWN"

    #: phases in which a host works on it
    ACTIVE = ("PREPARING", "MOVING")

    job = models.OneToOneField(Job, primary_key=True, on_delete=models.PROTECT, related_name="move")
    source = models.ForeignKey(Host, on_delete=models.PROTECT, related_name="moves_out")
    target = models.ForeignKey(Host, on_delete=models.PROTECT, related_name="moves_in")
    method = models.CharField(max_length=12, choices=Method)
    phase = models.CharField(max_length=12, choices=Phase, default=Phase.WAITING, db_index=True)
    #: bandwidth limit in MiB/s; 0: none
    rate_mib_s = models.PositiveIntegerField(default=0)
    deadline_seconds = models.PositiveIntegerField()
    #: COLD: ids of the disks that are copied
    copied = models.JSONField(default=list)
    #: COLD: it ran, so it is shut down first and started on the target
    restarts = models.BooleanField(default=False, db_default=False)
    verdict = models.CharField(max_length=8, choices=Verdict, blank=True)
    #: the row of the table that decided, as a sentence
    why = MessageField(blank=True)
    begun_at = models.DateTimeField(null=True)
    decided_at = models.DateTimeField(null=True)
    #: COLD, moved: when the source was told to delete the copied disks, and when it had
    discard_asked_at = models.DateTimeField(null=True)
    discarded_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "jobs_move"

    def __str__(self) -> str:
        return f"{self.source} → {self.target}"

    @property
    def is_keeping(self) -> bool:
        """Whether the source still has the disks that were copied."""
        has_moved = self.phase == self.Phase.ENDED and self.verdict == self.Verdict.MOVED
        return bool(self.copied) and has_moved and self.discarded_at is None


class MoveSide(models.Model):
    """Orders to and reports of one of the two hosts. Its facts count only for itself."""

    class Side(models.TextChoices):
        SOURCE = "SOURCE"
        TARGET = "TARGET"

    class Cleaning(models.TextChoices):
        NONE = ""
        #: told the outcome, not confirmed yet
        ASKED = "ASKED"
        DONE = "DONE"
        #: it sees something that contradicts the outcome
        REFUSED = "REFUSED"

    move = models.ForeignKey(Move, on_delete=models.PROTECT, related_name="sides")
    side = models.CharField(max_length=6, choices=Side)
    host = models.ForeignKey(Host, on_delete=models.PROTECT, related_name="+")
    #: highest sequence number of this host's reports: late reports are ignored
    sequence = models.IntegerField(default=-1)
    #: contract.MoveFacts as JSON, and when they were received
    facts = models.JSONField(default=dict)
    facts_at = models.DateTimeField(null=True)
    #: when its order was first sent; null: it was never given one
    ordered_at = models.DateTimeField(null=True)
    rung_at = models.DateTimeField(null=True)
    heard_at = models.DateTimeField(null=True)
    #: how its order ended: SUCCEEDED, FAILED, ERROR, CANCELLED; empty while it has not
    end = models.CharField(max_length=12, blank=True)
    ended_at = models.DateTimeField(null=True)
    error_code = models.CharField(max_length=40, blank=True)
    error_message = MessageField(blank=True)
    error_reference = models.CharField(max_length=40, blank=True, default="", db_default="")
    cleaning = models.CharField(max_length=8, choices=Cleaning, blank=True, default=Cleaning.NONE)
    cleaning_message = MessageField(blank=True)
    #: the host's job id of the clean-up; each attempt has another
    cleaning_job = models.UUIDField(null=True, db_index=True)
    #: number of refusals: after a few the migration waits for staff
    refusals = models.PositiveSmallIntegerField(default=0)

    class Meta:
        db_table = "jobs_moveside"
        ordering = ("side",)
        constraints = (
            models.UniqueConstraint(fields=("move", "side"), name="a_move_has_one_row_for_each_side"),
        )

    def __str__(self) -> str:
        return f"{self.side} {self.host}"

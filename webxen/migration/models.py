"""Move, beside its job of kind MIGRATE, with a MoveSide for each of its two hosts. `phases` writes the phase.

The tables have their names from the app that once held them.
"""

from django.db import models

from webxen.inventory.models import Host
from webxen.jobs.models import Job


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

    class Meta:
        db_table = "jobs_move"

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
    #: how its order ended: SUCCEEDED, FAILED, ERROR, CANCELLED; empty while it has not
    end = models.CharField(max_length=12, blank=True)
    ended_at = models.DateTimeField(null=True)
    error_code = models.CharField(max_length=40, blank=True)
    error_message = models.TextField(blank=True)
    error_reference = models.CharField(max_length=40, blank=True, default="", db_default="")
    cleaning = models.CharField(max_length=8, choices=Cleaning, blank=True, default=Cleaning.NONE)
    cleaning_message = models.TextField(blank=True)
    #: the host's own job for that: another attempt is another job
    cleaning_job = models.UUIDField(null=True, db_index=True)
    #: refusals so far: after a few the move waits for a person
    refusals = models.PositiveSmallIntegerField(default=0)

    class Meta:
        db_table = "jobs_moveside"
        ordering = ("side",)
        constraints = (
            models.UniqueConstraint(fields=("move", "side"), name="a_move_has_one_row_for_each_side"),
        )

    def __str__(self) -> str:
        return f"{self.side} {self.host}"

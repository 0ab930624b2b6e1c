"""AuditEntry: the append-only record of who did what to which object. KeptResult: a precomputed result."""

from django.conf import settings
from django.db import models

from webxen.core.messages import MessageField


class AuditEntry(models.Model):
    """One audit entry: an action of a user, a policy or the portal, with its result."""

    at = models.DateTimeField(db_index=True)
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    #: the policy that acted when there is no user: BALANCE, COMMAND_LINE; empty without an actor: the portal
    #: itself
    policy = models.CharField(max_length=16, blank=True, default="", db_default="")
    #: START_MACHINE, APPROVE_REQUEST …
    action = models.CharField(max_length=64)
    target_kind = models.CharField(max_length=32)
    target_id = models.CharField(max_length=64)
    target_name = models.CharField(max_length=128, blank=True)
    #: one sentence without secrets
    detail = MessageField(blank=True)
    #: Id of the request (also in the logs), the client's address, and the API token. token_id is no foreign
    #: key because entries outlive tokens. Empty: the portal itself, or an entry older than these columns.
    request_id = models.CharField(max_length=64, blank=True, default="", db_default="")
    address = models.CharField(max_length=45, blank=True, default="", db_default="")
    token_id = models.UUIDField(null=True)

    class Meta:
        ordering = ("-id",)
        indexes = (
            models.Index(fields=("action", "-id"), name="audit_by_action"),
            models.Index(fields=("target_id", "-id"), name="audit_by_target"),
            models.Index(fields=("token_id", "-id"), name="audit_by_token"),
            models.Index(fields=("request_id", "-id"), name="audit_by_request"),
            models.Index(fields=("address", "-id"), name="audit_by_address"),
        )

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M} {self.action} {self.target_name}"


class KeptResult(models.Model):
    """The last result of a computation over everything there is: one row of each kind."""

    #: DIFFERENCES, BALANCE
    kind = models.CharField(max_length=16, primary_key=True)
    #: as of when it is true
    at = models.DateTimeField()
    data = models.JSONField()

    def __str__(self) -> str:
        return f"{self.kind} {self.at:%Y-%m-%d %H:%M}"

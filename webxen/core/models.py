"""AuditEntry: who did what to what, append-only. Nothing else lives in the ground's database."""

from django.conf import settings
from django.db import models


class AuditEntry(models.Model):
    """One line of the audit: an intent a person or a job had, with its outcome."""

    at = models.DateTimeField(db_index=True)
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    #: what acted, where no person is known: BALANCE, COMMAND_LINE; empty with no actor: the portal itself
    policy = models.CharField(max_length=16, blank=True, default="", db_default="")
    #: START_MACHINE, APPROVE_REQUEST …
    action = models.CharField(max_length=64)
    target_kind = models.CharField(max_length=32)
    target_id = models.CharField(max_length=64)
    target_name = models.CharField(max_length=128, blank=True)
    #: one sentence; holds no secret
    detail = models.TextField(blank=True)
    #: the request it was done in: its id (also in the logs), the client's address, the token it came with.
    #: No foreign key: lines outlive tokens. Empty: the portal itself, or a line from before these columns.
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

"""ConsoleTicket: permission to open one console socket once. Only its hash is stored."""

from django.conf import settings
from django.db import models

from webxen.accounts.models import ApiToken
from webxen.machines.models import Machine


class ConsoleTicket(models.Model):
    """Bound to a user and a machine, valid for a minute, deleted when used."""

    #: SHA-256 of the ticket in hex: it has 256 bits, so a slow hash would add no security
    secret_hash = models.CharField(max_length=64, unique=True)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    machine = models.ForeignKey(Machine, on_delete=models.CASCADE, related_name="+")
    #: the API token that requested the ticket: if it is revoked, the console closes
    token = models.ForeignKey(ApiToken, on_delete=models.CASCADE, null=True, related_name="+")
    #: the browser session that requested the ticket: if it ends, the console closes
    session_key = models.CharField(max_length=40, blank=True, default="", db_default="")
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(db_index=True)

    class Meta:
        ordering = ("id",)

    def __str__(self) -> str:
        return f"{self.user} at {self.machine}"

"""ConsoleTicket: leave to open one console socket, once. Only its hash is kept."""

from django.conf import settings
from django.db import models

from webxen.accounts.models import ApiToken
from webxen.machines.models import Machine


class ConsoleTicket(models.Model):
    """Bound to a person and a machine, good for a minute, gone when used."""

    #: sha256 of the ticket, hex: it has 256 bits, so a slow hash would add nothing
    secret_hash = models.CharField(max_length=64, unique=True)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    machine = models.ForeignKey(Machine, on_delete=models.CASCADE, related_name="+")
    #: the token a script got the ticket with: when that is revoked, the console it opened closes
    token = models.ForeignKey(ApiToken, on_delete=models.CASCADE, null=True, related_name="+")
    #: the browser's session it was asked for with: when that ends, so does the console
    session_key = models.CharField(max_length=40, blank=True, default="", db_default="")
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(db_index=True)

    class Meta:
        ordering = ("id",)

    def __str__(self) -> str:
        return f"{self.user} at {self.machine}"

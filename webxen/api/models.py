"""IdempotencyKey: the stored answer of a request, kept for a day.

The model has its own queries; idempotency.py decides when they are used.
"""

from datetime import datetime, timedelta
from typing import Self

from django.db import IntegrityError, models, transaction

from webxen.accounts.models import User

KEPT_FOR = timedelta(days=1)


class IdempotencyKey(models.Model):
    """One key of one user. Key and answer are not readable without the key itself, which is not stored."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    key_hash = models.CharField(max_length=64)
    #: SHA-256 of method, URL and body of the first request
    fingerprint = models.CharField(max_length=64)
    #: encrypted with the key: an answer may contain a token's secret
    sealed_answer = models.TextField(blank=True)
    created_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("user", "key_hash"), name="a_key_is_used_once"),)

    def __str__(self) -> str:
        return self.key_hash[:8]

    @classmethod
    def claim(cls, *, user: User, key_hash: str, fingerprint: str, now: datetime) -> tuple[Self, bool]:
        """Return the row of this key, and whether it is new. Needs a transaction.

        A concurrent request with the same key waits here until the first has committed or rolled back.
        """
        cls.old(now=now).delete()
        try:
            with transaction.atomic():
                row = cls.objects.create(
                    user=user, key_hash=key_hash, fingerprint=fingerprint, created_at=now
                )
        except IntegrityError:
            return cls.objects.get(user=user, key_hash=key_hash), False
        return row, True

    @classmethod
    def old(cls, *, now: datetime) -> models.QuerySet[Self]:
        """Keys that have expired."""
        return cls.objects.filter(created_at__lt=now - KEPT_FOR)

    def keep(self, sealed_answer: str) -> None:
        type(self).objects.filter(pk=self.pk).update(sealed_answer=sealed_answer)

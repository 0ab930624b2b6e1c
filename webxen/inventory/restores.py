"""Restored databases: whether the portal waits for staff's confirmation, and stored receipts.

Contains the writing of Restore and SeenReceipt. `jobs.evidence` detects that a database is older than its
hosts.
"""

from datetime import datetime
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from webxen.accounts.models import User
from webxen.core import audit, events
from webxen.core.errors import NotFoundError, UserError
from webxen.core.messages import Message
from webxen.inventory.models import Host, Restore, SeenReceipt

HELD = Message("DATABASE_RESTORED")


class RestoredError(UserError):
    """The database is older than the hosts, and staff has not confirmed the restore yet."""

    code = "RESTORED"


def open_restore() -> Restore | None:
    """The restore that staff has not confirmed yet, or None."""
    return Restore.objects.filter(is_open=True).first()


def is_held() -> bool:
    """Whether the portal gives no orders and no addresses until staff confirms."""
    return Restore.objects.filter(is_open=True).exists()


def refuse_while_held() -> None:
    """Raises RestoredError while a restore is open."""
    if is_held():
        raise RestoredError(HELD)


def looked_at() -> datetime | None:
    """When staff last confirmed a restore; None: never."""
    return (
        Restore.objects.filter(is_open=None).values_list("ended_at", flat=True).order_by("-ended_at").first()
    )


def begin(*, why: str, staff: User | None, now: datetime) -> Restore:
    """Stop all orders until staff confirms. Return the open restore; an existing one is not changed."""
    try:
        with transaction.atomic():
            restore = Restore.objects.create(why=why, begun_at=now, begun_by=staff)
            _record(restore, "RESTORE_FOUND", why, staff, now)
    except IntegrityError:
        return Restore.objects.get(is_open=True)
    events.publish(kind="host", id=str(restore.id))
    return restore


@transaction.atomic
def end(*, staff: User, now: datetime) -> Restore:
    """Confirm the restore, so that orders are given again. Raises NotFoundError."""
    restore = open_restore() if staff.is_staff else None
    if restore is None or not Restore.objects.filter(id=restore.id, is_open=True).update(
        is_open=None, ended_at=now, ended_by=staff
    ):
        raise NotFoundError
    _record(restore, "RESTORE_LOOKED_AT", restore.why, staff, now)
    events.publish(kind="host", id=str(restore.id))
    return restore


def _record(restore: Restore, action: str, why: str, staff: User | None, now: datetime) -> None:
    audit.record(
        actor=staff,
        action=action,
        target_kind="restore",
        target_id=str(restore.id),
        target_name="database",
        detail=why,
        now=now,
    )


# --- receipts ------------------------------------------------------------------------------------


def receipts() -> QuerySet[SeenReceipt]:
    """Receipts that hosts reported and no row explains, each with its host."""
    return SeenReceipt.objects.select_related("host").exclude(host__state=Host.State.REMOVED)


def receipts_of(*, machine_id: UUID) -> list[SeenReceipt]:
    """Receipts of one machine, that of the newest order first."""
    return list(receipts().filter(machine_id=machine_id).order_by("-fence", "-at"))


def host_showing(*, machine_id: UUID) -> str | None:
    """Name of the host with the newest receipt of a machine, or None."""
    shown = receipts_of(machine_id=machine_id)
    return shown[0].host.name if shown else None


def keep_receipt(*, host: Host, machine_id: UUID, fence: int, at: datetime, text: str, now: datetime) -> None:
    """Store a receipt whose signature was verified."""
    SeenReceipt.objects.update_or_create(
        host=host,
        machine_id=machine_id,
        defaults={"fence": fence, "at": at, "text": text, "seen_at": now},
    )


def forget_explained(*, host: Host, machine_ids: set[UUID]) -> None:
    """Delete this host's receipts of machines that rows explain by now."""
    kept = set(SeenReceipt.objects.filter(host=host).values_list("machine_id", flat=True))
    if found := kept & machine_ids:
        SeenReceipt.objects.filter(host=host, machine_id__in=found).delete()

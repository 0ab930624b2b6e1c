"""Domains on a host that are not the portal's machines, for staff who evacuates or powers off the host.

Staff may mark one, by host and uuid, as known; then `verify` does not report it. The domain itself is never
changed.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet

from webxen.accounts.models import User
from webxen.core import audit, events
from webxen.core.errors import InvalidError, NotFoundError
from webxen.core.messages import Message
from webxen.inventory import queries as hosts
from webxen.inventory.models import Host, LeftAlone
from webxen.machines.models import Machine
from worker import contract


def strangers_on(host: Host) -> list[dict[str, Any]]:
    """Domains of the host's last observation whose uuid is no machine's, deleted machines included."""
    named = sorted(
        {uuid for domain in host.domains or [] if contract.UUID.fullmatch(uuid := str(domain.get("uuid")))}
    )
    ours: set[str] = set()
    for start in range(0, len(named), 500):  # SQLite limits the number of parameters
        rows = Machine.objects.filter(id__in=named[start : start + 500])
        ours |= {str(found) for found in rows.values_list("id", flat=True)}
    return [domain for domain in host.domains or [] if str(domain.get("uuid")) not in ours]


def left_alone_on(found: Iterable[Host]) -> Mapping[UUID, frozenset[str]]:
    """By host id, the uuids of the domains that staff marked as known."""
    rows: dict[UUID, set[str]] = {host.id: set() for host in found}
    for host_id, uuid in LeftAlone.objects.filter(host__in=rows).values_list("host_id", "uuid"):
        rows[host_id].add(str(uuid))
    return {host_id: frozenset(uuids) for host_id, uuids in rows.items()}


def known_on(*, staff: User, host_id: UUID) -> QuerySet[LeftAlone]:
    """The marks of this host's domains. Raises NotFoundError."""
    host = hosts.get_visible_host(user=staff, id=host_id)
    return LeftAlone.objects.filter(host=host).select_related("noted_by")


@transaction.atomic
def leave_alone(*, staff: User, host_id: UUID, uuid: UUID, now: datetime) -> LeftAlone:
    """Mark this domain as known; return the mark. Idempotent.

    Raises NotFoundError, or InvalidError if the host shows no such domain or it is one of the portal's
    machines.
    """
    host = hosts.get_visible_host(user=staff, id=host_id)
    domain = next((one for one in strangers_on(host) if one.get("uuid") == str(uuid)), None)
    if domain is None:
        raise InvalidError(Message("NO_SUCH_STRANGER", host=host.name))
    name = str(domain.get("domain", ""))
    noted, is_new = LeftAlone.objects.get_or_create(
        host=host, uuid=uuid, defaults={"name": name, "noted_by": staff, "noted_at": now}
    )
    if is_new:
        _tell(staff, host, "LEAVE_DOMAIN_ALONE", f"{name} {uuid}", now)
    return noted


@transaction.atomic
def watch_again(*, staff: User, host_id: UUID, uuid: UUID, now: datetime) -> None:
    """Remove the mark, so that `verify` reports the domain again. Raises NotFoundError."""
    host = hosts.get_visible_host(user=staff, id=host_id)
    found = LeftAlone.objects.filter(host=host, uuid=uuid).first()
    if found is None:
        raise NotFoundError
    found.delete()
    _tell(staff, host, "WATCH_DOMAIN_AGAIN", f"{found.name} {uuid}", now)


def _tell(staff: User, host: Host, action: str, detail: str, now: datetime) -> None:
    audit.record(
        actor=staff,
        action=action,
        target_kind="host",
        target_id=str(host.id),
        target_name=host.name,
        detail=detail,
        now=now,
    )
    events.publish(kind="host", id=str(host.id))

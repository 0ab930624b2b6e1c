"""Domains on a host that are no machines of ours: counted for who empties or switches off the host.

Staff may say of one of them, by host and uuid, that it is known and left alone; then `verify` does not call
it a difference. Nothing here touches the domain itself.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet

from webxen.accounts.models import User
from webxen.core import audit, events
from webxen.core.errors import InvalidError, NotFoundError
from webxen.inventory import queries as hosts
from webxen.inventory.models import Host, LeftAlone
from webxen.machines.models import Machine

PLAIN = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def strangers_on(host: Host) -> list[dict[str, Any]]:
    """The domains its last word lists that are no machine of ours, deleted ones included; as it told them."""
    named = sorted(
        {uuid for domain in host.domains or [] if PLAIN.fullmatch(uuid := str(domain.get("uuid")))}
    )
    ours: set[str] = set()
    for start in range(0, len(named), 500):  # SQLite takes so many values and no more
        rows = Machine.objects.filter(id__in=named[start : start + 500])
        ours |= {str(found) for found in rows.values_list("id", flat=True)}
    return [domain for domain in host.domains or [] if str(domain.get("uuid")) not in ours]


def left_alone_on(found: Iterable[Host]) -> Mapping[UUID, frozenset[str]]:
    """By the host's id, uuids of the domains there that staff knows and leaves alone."""
    rows: dict[UUID, set[str]] = {host.id: set() for host in found}
    for host_id, uuid in LeftAlone.objects.filter(host__in=rows).values_list("host_id", "uuid"):
        rows[host_id].add(str(uuid))
    return {host_id: frozenset(uuids) for host_id, uuids in rows.items()}


def known_on(*, staff: User, host_id: UUID) -> QuerySet[LeftAlone]:
    """The notes about this host's domains. Raises NotFoundError."""
    host = hosts.get_visible_host(user=staff, id=host_id)
    return LeftAlone.objects.filter(host=host).select_related("noted_by")


@transaction.atomic
def leave_alone(*, staff: User, host_id: UUID, uuid: UUID, now: datetime) -> LeftAlone:
    """Note that this domain is known; twice is harmless. Returns the note, the first one if there is one.

    Raises InvalidError where the host shows no such domain, or it is one of our machines.
    """
    host = hosts.get_visible_host(user=staff, id=host_id)
    domain = next((one for one in strangers_on(host) if one.get("uuid") == str(uuid)), None)
    if domain is None:
        raise InvalidError(f"{host.name} shows no domain with this uuid that is not one of our machines.")
    name = str(domain.get("domain", ""))
    noted, is_new = LeftAlone.objects.get_or_create(
        host=host, uuid=uuid, defaults={"name": name, "noted_by": staff, "noted_at": now}
    )
    if is_new:
        _tell(staff, host, "LEAVE_DOMAIN_ALONE", f"{name} {uuid}", now)
    return noted


@transaction.atomic
def watch_again(*, staff: User, host_id: UUID, uuid: UUID, now: datetime) -> None:
    """Take that back: `verify` names the domain again. Raises NotFoundError where it was not noted."""
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

"""Promise disk space of pools to machines. Queries are in `queries`.

Each pool row holds what is promised to its own host's machines; for a shared pool the sum over its hosts
counts. Rows are always locked in the order of their ids.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from uuid import UUID

from django.db.models import F, Q, QuerySet

from webxen.inventory import queries
from webxen.inventory.models import Pool

#: a host's id and the name of one of its pools
Key = tuple[UUID, str]


def promise(*, host_id: UUID, sizes: Mapping[str, int], now: datetime) -> list[str]:
    """Promise space of a host's pools (name → MiB), in a transaction that then holds locks on their rows.

    Return the names of the pools with too little left; in that case nothing is promised.
    """
    named = Q(host_id=host_id, name__in=sizes)
    shared = Pool.objects.filter(named, is_shared=True).exclude(shared_id="").values("shared_id")
    rows = list(_locked(named | Q(is_shared=True, shared_id__in=shared)))
    own = {row.name: row for row in rows if row.host_id == host_id and row.name in sizes}
    spaces = queries.spaces(pools=own.values(), now=now)
    left = {name: spaces[row.id].left_mib for name, row in own.items()}
    if lacking := sorted(name for name, size_mib in sizes.items() if left.get(name, -1) < size_mib):
        return lacking
    for name, row in own.items():
        Pool.objects.filter(id=row.id).update(promised_mib=F("promised_mib") + sizes[name])
    return []


def set_promised(*, host_ids: Collection[UUID], counted: Mapping[Key, int], now: datetime) -> None:
    """Set what these hosts' pools have promised, in MiB by host id and pool name; missing pools are set
    to 0.
    """
    for row in Pool.objects.filter(host_id__in=host_ids).order_by("id"):
        size_mib = counted.get((row.host_id, row.name), 0)
        if row.promised_mib != size_mib:
            Pool.objects.filter(id=row.id).update(promised_mib=size_mib)


def promised(*, host_ids: Collection[UUID]) -> dict[Key, int]:
    """Return what these hosts' pools have promised to their own machines, in MiB."""
    rows = Pool.objects.filter(host_id__in=host_ids).order_by()
    return {
        (host_id, name): mib for host_id, name, mib in rows.values_list("host_id", "name", "promised_mib")
    }


def lock(*, host_ids: Collection[UUID]) -> None:
    """Lock the rows of these hosts' pools until the transaction ends."""
    list(_locked(Q(host_id__in=host_ids)))


def _locked(which: Q) -> QuerySet[Pool]:
    return Pool.objects.select_for_update().filter(which).order_by("id")

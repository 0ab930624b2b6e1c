"""Differences between the quota ledger and the machines, as findings of `verify`.

The comparison and the correction are in `quotas`.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from uuid import UUID

from webxen.accounts.models import User
from webxen.core.messages import Message
from webxen.diagnostics.findings import Finding
from webxen.jobs import ledger
from webxen.machines.models import Machine
from webxen.quotas import operations as quotas
from webxen.quotas.drift import What
from webxen.quotas.models import Reservation

#: a reservation without a machine, and a machine without a reservation
LOST = frozenset({What.HOLDS_WITHOUT_MACHINE, What.MACHINE_HOLDS_NOTHING})


def holders(*, among: Iterable[UUID] | None = None) -> set[UUID]:
    """Ids of all holders of open reservations. `among`: only these ids; None: all."""
    held = Reservation.objects.exclude(status=Reservation.Status.RELEASED).values_list("holder", flat=True)
    if among is None:
        return set(held)
    waiting, found = list(among), set()
    for start in range(0, len(waiting), 500):  # SQLite limits the number of parameters
        found |= set(held.filter(holder__in=waiting[start : start + 500]))
    return found


def find(*, machines: Iterable[Machine]) -> Iterator[Finding]:
    """Yield every difference that the ledger's comparison reports."""
    known = {machine.id: machine for machine in machines}
    for drift in ledger.drift():
        machine = None if drift.holder is None else known.get(drift.holder)
        yield Finding(
            "RESERVATION_LOST" if drift.what in LOST else "QUOTA_DRIFT",
            drift.sentence,
            (machine.host.name,) if machine and machine.host else (),
            machine.name if machine else "",
            "" if drift.holder is None else str(drift.holder),
            target=str(drift.project_id),
        )


def mend(*, staff: User, now: datetime) -> str:
    """Correct the whole ledger; return what was done, or "" if nothing was left to correct."""
    found = quotas.settle_drift(staff=staff, held_by_machines=ledger.held_by_machines(), now=now)
    return Message("MENDED_LEDGER", n=len(found)) if found else ""

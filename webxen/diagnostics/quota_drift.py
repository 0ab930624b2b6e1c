"""What the quota ledger and the machines say of one another, as `verify` tells it.

Lives here: the one place where `verify` meets the ledger. What drift is, and how it is settled, is `quotas`.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from uuid import UUID

from webxen.accounts.models import User
from webxen.diagnostics.findings import Finding
from webxen.jobs import ledger
from webxen.machines.models import Machine
from webxen.quotas import operations as quotas
from webxen.quotas.drift import What
from webxen.quotas.models import Reservation

#: a share without a machine, and a machine without a share
LOST = frozenset({What.HOLDS_WITHOUT_MACHINE, What.MACHINE_HOLDS_NOTHING})


def holders() -> set[UUID]:
    """Ids of whatever holds a share now."""
    held = Reservation.objects.exclude(status=Reservation.Status.RELEASED)
    return set(held.values_list("holder", flat=True))


def find(*, machines: Iterable[Machine]) -> Iterator[Finding]:
    """Every difference the ledger's own comparison shows."""
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
    """Settle the whole ledger; "" when there is nothing to settle, as after the first call."""
    found = quotas.settle_drift(staff=staff, held_by_machines=ledger.held_by_machines(), now=now)
    return f"The ledger is settled: {len(found)} differences." if found else ""

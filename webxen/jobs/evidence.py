"""Detect that the database is older than the hosts, by receipts that the portal itself signed.

A host's own reports (fencing tokens, clock, jobs) are no evidence: a lying or reinstalled host must not stop
the portal for all others. The portal signs a receipt after the row was committed, so a receipt without a row
shows that rows were lost.
"""

import logging
from collections.abc import Collection
from datetime import UTC, datetime
from uuid import UUID

from django.conf import settings

from webxen.core import portal_key
from webxen.core.keys import is_signed_by
from webxen.core.messages import Message
from webxen.inventory import restores
from webxen.inventory.models import Host
from webxen.machines.models import Machine
from worker import contract

log = logging.getLogger(__name__)


def open_receipt(*, text: str, host: str) -> contract.Receipt:
    """Return the content of a receipt that this portal signed for this host. Raises BadEnvelope."""
    keys = portal_key.public_pems(settings.WEBXEN_PORTAL_KEY_FILE)
    return contract.open_receipt(
        text, host=host, verify=lambda _, *rest: any(is_signed_by(key, *rest) for key in keys)
    )


def take_receipts(*, host: Host, texts: Collection[str], now: datetime) -> None:
    """Compare the receipts of a host with the rows; evidence of lost rows stops all orders.

    Only signatures of receipts that would be evidence are verified.
    """
    told = _read(host, texts)
    known = {
        row.id: row
        for row in Machine.objects.filter(id__in=list(told)).only("id", "name", "state", "fence", "host_id")
    }
    proving = {one for one, (receipt, _) in told.items() if _proves(receipt, known.get(one))}
    ended = {one for one, (receipt, _) in told.items() if _tells_an_end(receipt, known.get(one))}
    restores.forget_explained(host=host, machine_ids=set(told) - proving - ended)
    proven = [one for one in told if one in proving and _is_ours(host, told[one][1])]
    looked_at = restores.looked_at()
    for machine_id in proven:
        receipt, text = told[machine_id]
        at = datetime.fromtimestamp(receipt.at, UTC)
        restores.keep_receipt(
            host=host, machine_id=machine_id, fence=receipt.fence, at=at, text=text, now=now
        )
        if looked_at is None or at > looked_at:
            restores.begin(why=_sentence(host, receipt, known.get(machine_id), at), staff=None, now=now)


def _read(host: Host, texts: Collection[str]) -> dict[UUID, tuple[contract.Receipt, str]]:
    found = {}
    for text in texts:
        try:
            name, receipt = contract.read_receipt(text)
            if name == host.name:
                found[UUID(receipt.machine_id)] = receipt, text
        except (contract.BadEnvelope, ValueError) as error:
            log.warning("%s showed a receipt that cannot be read: %s", host.name, error)
    return found


def _proves(receipt: contract.Receipt, machine: Machine | None) -> bool:
    """Whether the receipt is about an order that this database does not know."""
    if machine is None or receipt.fence > machine.fence:
        return True
    # ordered before and now without a host: the row was restored to an earlier state
    return machine.state == Machine.State.PENDING


def _tells_an_end(receipt: contract.Receipt, machine: Machine | None) -> bool:
    """Whether the receipt is about a deletion that the row does not know.

    Kept even after the fencing token was corrected, to explain the missing machine.
    """
    is_deleting = receipt.order == contract.DeleteMachine.kind
    return is_deleting and machine is not None and machine.state == Machine.State.READY


def _is_ours(host: Host, text: str) -> bool:
    try:
        open_receipt(text=text, host=host.name)
    except contract.BadEnvelope as error:
        log.warning("%s showed a receipt that this portal did not sign: %s", host.name, error)
        return False
    return True


def _sentence(host: Host, receipt: contract.Receipt, machine: Machine | None, at: datetime) -> str:
    when = f"{at:%Y-%m-%d %H:%M}"
    if machine is None:
        return Message("ORDER_WITHOUT_MACHINE", host=host.name, name=receipt.name, given_at=when)
    return Message("ORDER_NOT_KNOWN", host=host.name, name=receipt.name, given_at=when)

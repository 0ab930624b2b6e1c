"""Verifies the order in a journal entry: its signed envelope is opened and checked again.

An entry whose HMAC does not fit was written by an older worker, before the host's key was replaced, or by
somebody else. It is not continued until the portal sends the order of that job again.
"""

import dataclasses
import logging
import re

from worker import contract
from worker.contract import CancelJob, Order, ReceiveMachine, membership
from worker.errors import OrderRefused
from worker.identity import keys
from worker.job.context import HostContext
from worker.job.journal import Entry
from worker.job.order_checks import check_order

logger = logging.getLogger(__name__)

#: marks that any job may have, beside `disk:<id>`; because of them nothing is removed that a failure of the
#: order itself would not remove
MARKS = re.compile(r"files|domain|domid|console_start|doubtful|xl_pid|xl_start|was_running")
NUMBERS = ("domid", "console_start", "xl_pid", "xl_start")


def order_of(dom0: HostContext, entry: Entry) -> Order | None:
    """The signed order of an entry, whatever its age; None if the entry does not prove that it was accepted
    here.
    """
    if not (entry.is_ours and entry.envelope):
        return None

    def verify(host: str, signed: bytes, signature: bytes) -> bool:
        # A key that was replaced since was trusted when the order was accepted; the entry's HMAC proves that.
        if dom0.verify(host, signed, signature):
            return True
        then = membership.split_pems(entry.portal_keys)
        return any(keys.verifier(pem.encode())(host, signed, signature) for pem in then)

    try:
        # now=0: the expiry was checked when the order was accepted
        order = contract.open_envelope(entry.envelope, host=dom0.settings.host, verify=verify, now=0).message
        if not isinstance(order, Order) or isinstance(order, CancelJob):
            return None
        check_order(order)
    except (contract.BadEnvelope, OrderRefused, keys.KeyUnusable) as error:
        logger.error("the order in the journal entry of job %s is not carried out: %s", entry.job_id, error)
        return None
    is_of_entry = (order.job_id, order.machine.id) == (entry.job_id, entry.machine_id)
    return order if is_of_entry else None


def complete(entry: Entry, order: Order, *, envelope: str, portal_keys: str) -> Entry:
    """The entry with a fresh envelope of the same job. Keeps only the marks that the signed order allows."""
    return dataclasses.replace(
        entry,
        envelope=envelope,
        portal_keys=portal_keys,
        marks={name: value for name, value in entry.marks.items() if _is_allowed(order, name, value)},
        is_ours=True,
    )


def _is_allowed(order: Order, name: str, value: str) -> bool:
    """Whether a job with this order may have this mark."""
    kind, colon, disk_id = name.partition(":")
    if colon:
        copied = order.copied if isinstance(order, ReceiveMachine) else None
        disks = {disk.id for disk in order.machine.disks} if copied is None else set(copied)
        return kind == "disk" and disk_id in disks
    if name == "was_running":
        return bool(getattr(order, "restarts", False))
    is_number = bool(re.fullmatch(r"[0-9]{1,20}", value))
    return bool(MARKS.fullmatch(name)) and (name not in NUMBERS or is_number)

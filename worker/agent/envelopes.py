"""The portal's envelopes as they come: verified once, before anything waits for its turn or is done.

Lives here: what a verified message is, and the answer to one that this worker cannot read. What an order does
is `executor`; what is continued from the journal is verified again, by `job.accepted`.
"""

import logging
from dataclasses import dataclass

from worker import contract, errors
from worker.contract import UUID
from worker.identity import portal_keys
from worker.job.context import HostContext, describe
from worker.job.reporting import JobReporter

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Verified:
    """A message of the portal's: its signature is good, it is this host's, and it came in time."""

    message: contract.Message
    nonce: str
    #: as it came, for the journal
    envelope: str
    #: the portal's public keys (PEM) that this host trusted when it came
    portal_keys: str


def verify(dom0: HostContext, untrusted_envelope: object, *, now: int) -> Verified | None:
    """Open an envelope. Returns None, with one log line, where nothing may come of it."""
    trusted = portal_keys.text_of(dom0.settings.portal_key_file)
    try:
        opened = contract.open_envelope(
            untrusted_envelope, host=dom0.settings.host, verify=dom0.verify, now=now
        )
    except contract.UnreadableMessage as error:
        say_too_old(dom0, error)
        return None
    except contract.BadEnvelope as error:
        logger.warning("dropped an order: %s", error)
        return None
    return Verified(opened.message, opened.nonce, str(untrusted_envelope), trusted)


def say_too_old(dom0: HostContext, error: contract.UnreadableMessage) -> None:
    """Answer an order that the portal has signed and this worker cannot read."""
    logger.error("a signed order cannot be read: %s", error)
    if not (UUID.fullmatch(error.job_id) and UUID.fullmatch(error.machine_id)):
        return
    news = JobReporter(dom0.reporter, job_id=error.job_id, machine_id=error.machine_id, attempt=0)
    failure = errors.WorkerTooOld("ORDER_NOT_UNDERSTOOD", error=error)
    dom0.reporter.tell(news.end(event="FAILED", **describe(failure)))

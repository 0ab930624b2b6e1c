"""Entry points for hosts' messages and for the periodic tasks; each makes one domain call.

Messages come from `reader`, one at a time; tasks come from Celery beat and run in another process.
"""

import logging
import threading

from celery import shared_task
from celery.signals import worker_ready
from django.db import connections

from webxen.core import clock
from webxen.diagnostics import fleet_look
from webxen.enrolment import trust
from webxen.fleet import balancing, fencing, plans
from webxen.fleet.models import Fencing
from webxen.inventory import floods
from webxen.inventory import queries as inventory
from webxen.jobs import checks, observing, operations
from worker import contract

log = logging.getLogger(__name__)
FENCE_THREAD = "fence"
_computing = threading.Lock()


worker_ready.connect(lambda **_signal: checks.log_portal_key(), weak=False)


def _is_from_host(name: str, signed: bytes, signature: bytes) -> bool:
    return trust.is_from_host(name=name, signed=signed, signature=signature, now=clock.now())


def _open(untrusted_envelope: object) -> contract.Opened | None:
    now = int(clock.now().timestamp())
    try:
        return contract.open_envelope(untrusted_envelope, host=None, verify=_is_from_host, now=now)
    except contract.OtherVersion as why:
        log.warning("envelope dropped: %s", why)
        observing.note_other_version(name=why.host, version=why.version, now=clock.now())
        return None
    except contract.BadEnvelope as why:
        log.warning("envelope dropped: %s", why)
        return None


def receive(untrusted_task: str, untrusted_envelope: object) -> None:
    """Handle a host's message of any kind."""
    doors = {contract.TASK_REPORT: receive_report, contract.TASK_OBSERVATION: receive_observation}
    door = doors.get(untrusted_task)
    if door is None:
        log.warning("a message was dropped: there is no task %.80r", untrusted_task)
        return
    door(untrusted_envelope)


def receive_report(untrusted_envelope: object = None) -> None:
    opened = _open(untrusted_envelope)
    if opened is None:
        return
    host = inventory.host_named(name=opened.host)
    if host is None or not isinstance(opened.message, contract.Report):
        log.warning("envelope of %s dropped: it holds no report", opened.host)
        return
    operations.apply_report(host=host, report=opened.message, now=clock.now())


def receive_observation(untrusted_envelope: object = None) -> None:
    opened = _open(untrusted_envelope)
    if opened is None:
        return
    host = inventory.host_named(name=opened.host)
    if host is None or not isinstance(opened.message, contract.Observation):
        log.warning("envelope of %s dropped: it holds no observation", opened.host)
        return
    observing.apply_observation(host=host, observation=opened.message, now=clock.now())


def note_flood(name: str) -> None:
    """Record that messages of this host were dropped, because there were too many or they were too large."""
    floods.note(name=name, what="reports", now=clock.now())


@shared_task(name="webxen.sweep")
def sweep() -> None:
    operations.sweep(now=clock.now())


@shared_task(name="webxen.watch")
def watch() -> None:
    observing.lose_sight(now=clock.now())


@shared_task(name="webxen.tend")
def tend() -> None:
    trust.tend(now=clock.now())


@shared_task(name="webxen.balance")
def balance() -> None:
    balancing.run_policy(now=clock.now())


@shared_task(name="webxen.fence")
def fence() -> None:
    """Run each agent in a thread: it may take minutes, and this process runs all periodic tasks."""
    for claimed in fencing.claim(now=clock.now()):
        # a daemon thread: if the process ends, the result is unknown, and nothing is started
        threading.Thread(target=_use_agent, args=(claimed,), name=FENCE_THREAD, daemon=True).start()


def _use_agent(claimed: Fencing) -> None:
    try:
        evidence = fencing.use_agent(fencing=claimed)
        fencing.conclude(fencing_id=claimed.id, evidence=evidence, now=clock.now())
    except Exception:
        # nothing was started; a later round shows the failure on the host's page
        log.exception("fencing %s of %s failed", claimed.id, claimed.host)
        raise
    finally:
        connections.close_all()


@shared_task(name="webxen.compute")
def compute() -> None:
    """What pages show of all machines: it takes long where there are many, so it has a thread."""
    if _computing.acquire(blocking=False):
        threading.Thread(target=_compute, name="compute", daemon=True).start()


def _compute() -> None:
    try:
        fleet_look.compare_all(now=clock.now())
        plans.keep_proposals(now=clock.now())
    except Exception:
        # pages show the last result, with its time
        log.exception("what pages show of all machines was not computed")
        raise
    finally:
        connections.close_all()
        _computing.release()

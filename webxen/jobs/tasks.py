"""Doors: what arrives on the portal's queue. Each opens its envelope and makes one call."""

import logging

from celery import shared_task

from webxen.core import clock
from webxen.inventory import queries as inventory
from webxen.jobs import observing, operations, trust
from worker import contract

log = logging.getLogger(__name__)


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


@shared_task(name=contract.TASK_REPORT)
def receive_report(untrusted_envelope: object = None) -> None:
    opened = _open(untrusted_envelope)
    if opened is None:
        return
    host = inventory.host_named(name=opened.host)
    if host is None or not isinstance(opened.message, contract.Report):
        log.warning("envelope of %s dropped: it holds no report", opened.host)
        return
    operations.apply_report(host=host, report=opened.message, now=clock.now())


@shared_task(name=contract.TASK_OBSERVATION)
def receive_observation(untrusted_envelope: object = None) -> None:
    opened = _open(untrusted_envelope)
    if opened is None:
        return
    host = inventory.host_named(name=opened.host)
    if host is None or not isinstance(opened.message, contract.Observation):
        log.warning("envelope of %s dropped: it holds no observation", opened.host)
        return
    observing.apply_observation(host=host, observation=opened.message, now=clock.now())


@shared_task(name="webxen.sweep")
def sweep() -> None:
    operations.sweep(now=clock.now())


@shared_task(name="webxen.watch")
def watch() -> None:
    observing.lose_sight(now=clock.now())


@shared_task(name="webxen.tend")
def tend() -> None:
    trust.tend(now=clock.now())

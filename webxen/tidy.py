"""The nightly task that deletes old rows, which each package defines in its retention.py.

docs/operating.md lists the ages. Rows that kept rows refer to are not deleted.
"""

import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime

from celery import shared_task
from django.conf import settings
from django.db import DatabaseError, connections

from webxen.accounts import retention as accounts
from webxen.api import retention as api
from webxen.approvals import retention as approvals
from webxen.console import retention as console
from webxen.core import batches, clock
from webxen.core import retention as core
from webxen.fleet import retention as fleet
from webxen.inventory import retention as inventory
from webxen.jobs import retention as jobs
from webxen.machines import retention as machines
from webxen.migration import retention as migration

log = logging.getLogger(__name__)

THREAD = "tidy"
#: rows that refer to others come before them
ROOMS = (console, api, approvals, fleet, migration, jobs, machines, inventory, accounts, core)


def tidy_up(*, now: datetime, may_go_on: Callable[[], bool]) -> dict[str, int]:
    """Delete old rows while `may_go_on()` is true; return the number of deleted rows by kind.

    The rest is deleted in the next run.
    """
    counts: dict[str, int] = {}
    for room in ROOMS:
        for name, rows in room.old_rows(now=now).items():
            try:
                counts[name] = batches.delete(rows, may_go_on=may_go_on)
            except DatabaseError as error:
                log.error("old %s could not be deleted: %s", name, error)
    return counts


@shared_task(name="webxen.tidy")
def tidy() -> None:
    """Run in a thread: it may take minutes, and this process runs all periodic tasks."""
    if not any(thread.name == THREAD for thread in threading.enumerate()):
        # a daemon thread: if the process ends, the next night continues
        threading.Thread(target=_run, name=THREAD, daemon=True).start()


def _run() -> None:
    until = time.monotonic() + settings.WEBXEN_TIDY_SECONDS
    try:
        counts = tidy_up(now=clock.now(), may_go_on=lambda: time.monotonic() < until)
        log.info("old rows deleted: %s", {name: count for name, count in counts.items() if count})
    finally:
        connections.close_all()

"""The single door of the worker: the Celery task `worker.obey`.

Lives here: putting the task on the application, and starting what works beside it. The door decides
nothing: it hands the envelope on. Celery's own task names and headers are not believed.
"""

import logging
import threading
import time
from typing import Any

from celery import Celery
from celery.signals import worker_ready, worker_shutting_down

from worker import keys, orders
from worker.contract import TASK_OBEY
from worker.dom0 import Dom0
from worker.errors import XlUnreadable
from worker.journal import Journal
from worker.postman import Postman
from worker.reconcile import Reconciler
from worker.reporting import Reporter
from worker.settings import Settings
from worker.xl import Xl

logger = logging.getLogger(__name__)


def make_dom0(app: Celery, config: Settings) -> Dom0:
    """This host with its keys read and its directories made."""
    config.make_directories()
    journal = Journal(config.journal_dir)
    postman = Postman(app, host=config.host, sign=keys.read_signer(config.host_key_file))
    return Dom0(
        settings=config,
        xl=Xl(str(config.xl), str(config.xenstore_dir)),
        journal=journal,
        reporter=Reporter(postman.send, on_end_told=journal.mark_told),
        verify=keys.read_verifier(config.portal_key_file),
    )


def open_door(app: Celery, config: Settings) -> None:
    """Register the one task, take Celery's own away, and start reconciling when Celery is ready."""
    dom0 = make_dom0(app, config)
    reconciler = Reconciler(dom0)

    def obey(*untrusted: object, **_untrusted: object) -> None:
        orders.obey(dom0, untrusted[0] if len(untrusted) == 1 else None, now=int(time.time()))

    app.task(name=TASK_OBEY, ignore_result=True)(obey)
    app.finalize()
    # celery.chain, celery.starmap and the like would be more doors into the same house.
    for name in [name for name in app.tasks if name != TASK_OBEY]:
        app.tasks.unregister(name)

    def begin(**_signal: Any) -> None:
        logger.info("%s is ready for orders", config.host)
        reconciler.start()
        # What the first order would otherwise wait for.
        threading.Thread(target=_read_facts, args=(dom0,), name="facts", daemon=True).start()

    def end(**_signal: Any) -> None:
        reconciler.stop()

    worker_ready.connect(begin, weak=False)
    worker_shutting_down.connect(end, weak=False)


def _read_facts(dom0: Dom0) -> None:
    try:
        logger.info("new machines are %s here", dom0.best_type)
    except XlUnreadable as error:
        logger.warning("%s", error)

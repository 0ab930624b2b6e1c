"""The reconciler: continues interrupted jobs, finishes cleanups and sends undelivered end reports.

It reads the journal at start and every 30 seconds. It does not depend on messages, so lost, duplicate and
late messages make no difference to it.
"""

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from worker.agent import executor
from worker.agent.tidy import Tidier
from worker.job.context import HostContext
from worker.job.journal import Entry

logger = logging.getLogger(__name__)

INTERVAL_SECONDS = 30.0
#: interrupted jobs continued at the same time, beside those the listener delivers
WORKERS = 2


class Reconciler:
    """A thread that processes the journal periodically until it is stopped."""

    def __init__(self, dom0: HostContext, *, interval_seconds: float = INTERVAL_SECONDS) -> None:
        self._dom0 = dom0
        self._interval_seconds = interval_seconds
        self._stopped = threading.Event()
        self._bell = threading.Event()
        self._workers = ThreadPoolExecutor(WORKERS, thread_name_prefix="resume")
        self._underway: set[str] = set()
        #: job ids for which a warning about a foreign entry was logged
        self._waiting: set[str] = set()
        self._tidier = Tidier(dom0)
        self._thread = threading.Thread(target=self._run, name="reconcile", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def ring(self) -> None:
        """Start a pass now instead of at the end of the interval."""
        self._bell.set()

    def stop(self) -> None:
        """Stop the thread. Jobs that it has begun are not waited for."""
        self._stopped.set()
        self._bell.set()
        self._workers.shutdown(wait=False, cancel_futures=True)

    def look(self) -> None:
        """Process the journal once. Raises OSError when it cannot be read."""
        for entry in self._dom0.journal.entries():
            if not entry.is_ours:
                self._leave_waiting(entry)
            elif entry.state != "ENDED":
                self._resume(entry.job_id)
            elif not self._dom0.journal.is_told(entry.job_id):
                self._dom0.tell_end(entry)
        self._dom0.journal.forget_old(now=time.time())
        self._dom0.journal.reserve.keep()
        self._tidier.look()

    def _leave_waiting(self, entry: Entry) -> None:
        """Leave an entry that this worker did not write alone until the portal sends the order of its job
        again.
        """
        if entry.state != "ENDED" and entry.job_id not in self._waiting:
            logger.warning(
                "the journal entry of job %s is not this worker's: it waits until the portal sends the order"
                " of that job again",
                entry.job_id,
            )
            self._waiting.add(entry.job_id)

    def _resume(self, job_id: str) -> None:
        if job_id in self._underway:
            return
        self._underway.add(job_id)
        self._workers.submit(self._resume_now, job_id)

    def _resume_now(self, job_id: str) -> None:
        try:
            executor.resume(self._dom0, job_id)
        except Exception:  # the top of the thread: a bug is logged and must not end the other jobs
            logger.exception("job %s could not be continued", job_id)
        finally:
            self._underway.discard(job_id)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self.look()
            except OSError:
                logger.exception("the journal could not be read")
            self._bell.wait(self._interval_seconds)
            self._bell.clear()

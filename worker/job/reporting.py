"""Reports of a job to the portal: STARTED, any number of STEP, then exactly one end.

`JobReporter` builds the reports of one job. `Reporter` sends them from a thread of its own, so that a job
never waits for the broker. STEP reports may be lost while the broker is unavailable; the end report is in the
journal and is sent until the broker accepts it.
"""

import dataclasses
import logging
import queue
import threading
import time
from collections.abc import Callable

from worker.contract import ENDS, MoveFacts, Report
from worker.ipc.errors import PortalAway

logger = logging.getLogger(__name__)

#: Minimum time between two reports of the same step.
STEP_INTERVAL_SECONDS = 0.25


class Reporter:
    """Sends reports in order from a thread of its own."""

    def __init__(self, send: Callable[[Report], None], *, on_end_told: Callable[[str], None]) -> None:
        self._send = send
        self._on_end_told = on_end_told
        self._waiting: queue.Queue[Report] = queue.Queue()
        self._thread = threading.Thread(target=self._run, name="reporter", daemon=True)
        self._thread.start()

    def tell(self, report: Report) -> None:
        """Queue a report. Never blocks and never raises."""
        self._waiting.put(report)

    def flush(self, *, timeout_seconds: float) -> bool:
        """Wait until every queued report was tried. Returns False on timeout. For shutdown and for tests."""
        until = time.monotonic() + timeout_seconds
        while self._waiting.unfinished_tasks:
            if time.monotonic() > until:
                return False
            time.sleep(0.02)
        return True

    def _run(self) -> None:
        while True:
            report = self._waiting.get()
            try:
                self._deliver(report)
            finally:
                self._waiting.task_done()

    def _deliver(self, report: Report) -> None:
        is_end = report.event in ENDS
        if report.event == "STEP" and self._waiting.qsize() > 20:
            return  # the broker is slow or unavailable; a newer report follows
        try:
            self._send(report)
        except PortalAway as error:
            logger.warning("report %s of job %s not sent: %s", report.event, report.job_id, error)
            return
        if is_end:
            self._on_end_told(report.job_id)


class JobReporter:
    """Builds and sends the reports of one job."""

    def __init__(self, reporter: Reporter, *, job_id: str, machine_id: str, attempt: int) -> None:
        self._reporter = reporter
        self._blank = Report(job_id=job_id, machine_id=machine_id, event="STEP")
        # Sequence numbers of an attempt are above all those of the attempt before.
        self._sequence = attempt * 100_000
        self._step = ""
        self._progress = 0
        self._told_at = 0.0
        #: of a migration: what this host knows of it; sent with every report
        self.move: MoveFacts | None = None

    def started(self) -> None:
        """Report STARTED."""
        self._tell(event="STARTED")

    def step(self, name: str, progress: int) -> None:
        """Report the progress in percent. Limits how often the same step is reported."""
        progress = max(progress, self._progress)
        now = time.monotonic()
        is_same = name == self._step
        if is_same and (progress == self._progress or now - self._told_at < STEP_INTERVAL_SECONDS):
            return
        self._step, self._progress, self._told_at = name, progress, now
        self._tell(event="STEP")

    def end(self, **values: object) -> Report:
        """The end report, without sending it: it is written to the journal first."""
        self._sequence += 1
        common: dict[str, object] = {
            "step": self._step,
            "progress": self._progress,
            "sequence": self._sequence,
            "move": self.move,
        }
        return dataclasses.replace(self._blank, **{**common, **values})  # type: ignore[arg-type]

    def _tell(self, *, event: str) -> None:
        self._reporter.tell(self.end(event=event))

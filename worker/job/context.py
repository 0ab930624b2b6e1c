"""This host, as the verbs see it: its settings, its xl, its journal, and a way to report.

`HostContext` holds those together, and `JobContext` is one job being carried out on it. No verb.
"""

import contextlib
import functools
import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from worker import contract, failpoints
from worker.contract import ENDS, MachineSpec, Order, Report
from worker.errors import Cancelled, DeadlinePassed, WorkerError, XlUnreadable
from worker.job.journal import Entry, Journal
from worker.job.quiet import QuietPeriod
from worker.job.reporting import JobReporter, Reporter
from worker.settings import Settings
from worker.xen.xl import Unreadable, Xl, XlError

logger = logging.getLogger(__name__)

Verify = Callable[[str, bytes, bytes], bool]


@dataclass(frozen=True)
class HostContext:
    settings: Settings
    xl: Xl
    journal: Journal
    reporter: Reporter
    #: is this signature the portal's?
    verify: Verify
    quiet: QuietPeriod = field(default_factory=QuietPeriod)

    def __post_init__(self) -> None:
        self.journal.authenticate_with(self.settings.host_key_file)

    @functools.cached_property
    def facts(self) -> dict[str, str]:
        """`xl info`, read once: only what does not change may be taken from it."""
        try:
            return self.xl.info()
        except XlError as error:
            raise XlUnreadable(
                "The host's Xen does not answer. Try again or tell an administrator."
            ) from error

    @property
    def best_type(self) -> str:
        """PVH where the processor can do it: PV guests cannot be moved while they run.

        Xen before 4.13 does not print "hap": its machines are PV, which it can run whatever it prints.
        """
        return "PVH" if {"hvm", "hap"} <= set(self.facts.get("virt_caps", "").split()) else "PV"

    def tell_end(self, entry: Entry) -> None:
        """Send the end report of a job, once more if need be. One that is not of this job is not sent."""
        report = contract.decode(entry.end) if entry.end is not None else None
        if not isinstance(report, Report):
            return
        if report.event not in ENDS or (report.job_id, report.machine_id) != (entry.job_id, entry.machine_id):
            logger.error("the end in the journal entry of job %s is another job's: not sent", entry.job_id)
            return
        self.reporter.tell(report)


#: the order of a verb's own class, where its function needs more than every order has
OrderT_co = TypeVar("OrderT_co", bound=Order, covariant=True)


@dataclass
class JobContext(Generic[OrderT_co]):
    """One job while it is carried out. Its machine's lock is held."""

    dom0: HostContext
    order: OrderT_co
    machine: MachineSpec
    entry: Entry
    news: JobReporter
    #: on the monotonic clock
    deadline: float
    #: where in the console log this job's boot begins; -1 when the job boots nothing
    console_start: int = -1
    #: what has begun here can be broken off and undone
    can_stop: bool = True

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """A step of the verb's row: it is reported, and may run twice."""
        self.say(name)
        yield
        failpoints.reach(f"{name} is done")
        if self.dom0.settings.fault_after_step == name:
            os._exit(137)

    def say(self, name: str, part: float = 0.0) -> None:
        """Report how much of the step is done, 0 to 1.

        Raises DeadlinePassed and Cancelled, so it is said often in long steps.
        """
        progress = self.share(name, part)
        failpoints.reach(f"{name} at {progress} %")
        self.remaining(name)
        self.check_cancelled()
        self.news.step(name, progress)

    def share(self, name: str, part: float = 0.0) -> int:
        """Return the percentage of the whole job when this part, 0 to 1, of the step is done."""
        return contract.VERBS[self.order.kind].step(name).share(part)

    def check_cancelled(self) -> None:
        """Raises Cancelled when that was asked for and nothing would be left half done."""
        if self.can_stop and self.dom0.journal.is_cancel_asked(self.entry.job_id):
            raise Cancelled("The job was cancelled.")

    def remaining(self, doing: str, *, at_most: float = 3600.0) -> float:
        """Seconds left for this job. Raises DeadlinePassed."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise DeadlinePassed(f"The job ran out of time at {doing}. Try again when the host is less busy.")
        return min(left, at_most)

    def mark(self, **marks: str) -> None:
        """Remember across a crash what is about to be made; on disk before it is made."""
        self.entry.marks.update(marks)
        self.dom0.journal.write(self.entry)


def lines_of(error: WorkerError) -> str:
    """The sentence and, for an xl error behind it, xl's own last words.

    Not those of a list that cannot be read: they are lines about other people's domains, and an owner reads
    this. The worker's log has them.
    """
    cause = error.__cause__
    if isinstance(cause, XlError) and cause.lines and not isinstance(cause, Unreadable):
        return f"{error} xl said: {'; '.join(cause.lines[-2:])}"
    return str(error)

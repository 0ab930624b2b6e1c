"""The context in which verbs run: this host (`HostContext`) and one job on it (`JobContext`)."""

import contextlib
import functools
import logging
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
from worker.storage import Pools
from worker.xen.xl import Unreadable, Xl, XlError

logger = logging.getLogger(__name__)

Verify = Callable[[str, bytes, bytes], bool]


@dataclass(frozen=True)
class HostContext:
    """This host, as the verbs see it."""

    settings: Settings
    xl: Xl
    journal: Journal
    reporter: Reporter
    #: verifies a signature of the portal: host, signed bytes, signature
    verify: Verify
    quiet: QuietPeriod = field(default_factory=QuietPeriod)
    pools: Pools = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.journal.authenticate_with(self.settings.host_key_file)
        object.__setattr__(self, "pools", Pools(self.settings))

    @functools.cached_property
    def facts(self) -> dict[str, str]:
        """The output of `xl info`, read once; use it only for facts that do not change.

        Raises XlUnreadable.
        """
        try:
            return self.xl.info()
        except XlError as error:
            raise XlUnreadable("XEN_NOT_RESPONDING") from error

    @property
    def best_type(self) -> str:
        """PVH if the processor supports it, else PV. Raises XlUnreadable.

        PV guests cannot be migrated while they run.

        Xen before 4.13 does not print "hap" in virt_caps, so its machines are PV, which it can always run.
        """
        return "PVH" if {"hvm", "hap"} <= set(self.facts.get("virt_caps", "").split()) else "PV"

    def tell_end(self, entry: Entry) -> None:
        """Send the end report of a job, possibly again. A report that belongs to another job is not sent."""
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
    """One job while it is executed. The machine's lock is held."""

    dom0: HostContext
    order: OrderT_co
    machine: MachineSpec
    entry: Entry
    news: JobReporter
    #: on the monotonic clock, in seconds
    deadline: float
    #: offset in the console log at which this job's boot begins; -1 when the job boots nothing
    console_start: int = -1
    #: whether the current step can be interrupted and undone
    can_stop: bool = True

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Report the start of a step of the verb. It may run twice. Raises DeadlinePassed and Cancelled."""
        self.say(name)
        yield
        failpoints.reach(f"{name} is done")

    def say(self, name: str, part: float = 0.0) -> None:
        """Report how much of the step is done, 0 to 1. Call it often in long steps.

        Raises DeadlinePassed and Cancelled.
        """
        progress = self.share(name, part)
        failpoints.reach(f"{name} at {progress} %")
        self.remaining(name)
        self.check_cancelled()
        self.news.step(name, progress)

    def share(self, name: str, part: float = 0.0) -> int:
        """The progress of the whole job in percent when this part (0 to 1) of the step is done."""
        return contract.VERBS[self.order.kind].step(name).share(part)

    def check_cancelled(self) -> None:
        """Raises Cancelled if a cancel was requested and the current step can be interrupted."""
        if self.can_stop and self.dom0.journal.is_cancel_asked(self.entry.job_id):
            raise Cancelled("JOB_CANCELLED")

    def remaining(self, doing: str, *, at_most: float = 3600.0) -> float:
        """Seconds left for this job, at most `at_most`. Raises DeadlinePassed."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise DeadlinePassed("OUT_OF_TIME", step=doing)
        return min(left, at_most)

    def mark(self, **marks: str) -> None:
        """Write marks to the journal before the thing they name is made. Raises OSError."""
        self.entry.marks.update(marks)
        self.dom0.journal.write(self.entry)


def describe(error: WorkerError) -> dict[str, object]:
    """The fields of a report that say what went wrong."""
    details = _details_of(error)
    return {
        "error_code": error.code,
        "error_reason": error.reason,
        "error_params": error.params,
        "error_details": details,
        "error_message": f"{error} {details}".strip(),
        "is_retryable": error.is_retryable,
    }


def _details_of(error: WorkerError) -> str:
    """The last words of a program, or of xl for an xl error behind it.

    Lines of an unreadable domain list are left out: they are about other people's domains, and an owner reads
    this. The worker's log has them.
    """
    cause = error.__cause__
    if error.details or not isinstance(cause, XlError) or isinstance(cause, Unreadable) or not cause.lines:
        return error.details
    return f"xl: {'; '.join(cause.lines[-2:])}"

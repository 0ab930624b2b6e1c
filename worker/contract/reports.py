"""Reports about jobs. What a host reports about itself is in `seen`."""

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from worker.contract.moves import MoveFacts
from worker.contract.seen import Power

#: events with which a job ends
ENDS = ("SUCCEEDED", "FAILED", "CANCELLED")


@dataclass(frozen=True)
class Report:
    """One report about a job: STARTED, any number of STEP, then exactly one of ENDS."""

    kind: ClassVar[str] = "REPORT"
    job_id: str
    machine_id: str
    #: CANCEL_HEARD: the job continues to a safe point or, if `error_code` is TOO_LATE, to its end
    event: Literal["STARTED", "STEP", "CANCEL_HEARD", "SUCCEEDED", "FAILED", "CANCELLED"]
    #: DISK, SEED, CONFIG, DOMAIN, KERNEL, INIT, LOGIN … (see `contract.VERBS`)
    step: str = ""
    #: percent of the whole job
    progress: int = 0
    #: grows within a job on this host, so that late reports are ignored
    sequence: int = 0
    error_code: str = ""
    #: what the owner is told: a code of `texts`, finer than `error_code`, what is put into its text, and the
    #: last words of a program, as they are
    error_reason: str = ""
    error_params: dict[str, Any] = field(default_factory=dict)
    error_details: str = ""
    #: the same in English, for logs and for portals that do not know the reason
    error_message: str = ""
    #: with INTERNAL_ERROR: the reference of the traceback in the worker's log
    error_reference: str = ""
    is_retryable: bool = False
    #: the last console lines, without escape sequences
    console_tail: str = ""
    #: the xl configuration that the machine was started with
    config: str = ""
    power: Power = "UNKNOWN"
    #: in all reports of RECEIVE, MIGRATE and SETTLE_MOVE
    move: MoveFacts | None = None

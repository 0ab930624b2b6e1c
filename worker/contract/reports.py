"""What comes back of a job. What a host says of itself is in `seen`."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from worker.contract.moves import MoveFacts
from worker.contract.seen import Power

#: how a job ends
ENDS = ("SUCCEEDED", "FAILED", "CANCELLED")


@dataclass(frozen=True)
class Report:
    """One piece of news about a job: STARTED, any number of STEP, then exactly one end."""

    kind: ClassVar[str] = "REPORT"
    job_id: str
    machine_id: str
    #: CANCEL_HEARD: the job goes on to a safe point, or to its end where `error_code` is TOO_LATE
    event: Literal["STARTED", "STEP", "CANCEL_HEARD", "SUCCEEDED", "FAILED", "CANCELLED"]
    #: DISK, SEED, CONFIG, DOMAIN, KERNEL, INIT, LOGIN … (see worker.steps of each verb)
    step: str = ""
    #: 0–100 over the whole job
    progress: int = 0
    #: counts up within a job on this host, so that late news moves nothing
    sequence: int = 0
    error_code: str = ""
    #: one clear sentence for the owner
    error_message: str = ""
    #: with INTERNAL_ERROR: the worker's log has the traceback under it
    error_reference: str = ""
    is_retryable: bool = False
    #: the last console lines, escape sequences stripped
    console_tail: str = ""
    #: the xl configuration a machine was started with, as text
    config: str = ""
    power: Power = "UNKNOWN"
    #: with the news and the end of RECEIVE, MIGRATE and SETTLE_MOVE
    move: MoveFacts | None = None

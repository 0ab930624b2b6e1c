"""Sanitize a host's report: bounded values without characters the database refuses. Pure.

A host is trusted only with its own machines; texts it reports are data without meaning for the portal.
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from webxen.core.messages import Message
from webxen.core.texts import clean
from worker import contract

MAX_SEQUENCE = 2**31 - 1
#: a petabyte, in bytes
MAX_COUNT = 2**50
#: domains of one machine on one host: itself, --incoming, --migratedaway
MAX_DOMAINS = 8
MAX_CONSOLE_TAIL = 16_384
MAX_CONFIG = 65_536
#: the code of an unexpected error, and the one that earlier workers report
INTERNAL_ERROR, FORMER_CODE = "INTERNAL_ERROR", "INTERNAL"


@dataclass(frozen=True)
class SanitizedReport:
    """A report ready to be stored. `event` ERROR: reported as FAILED with the code of a bug."""

    job_id: UUID | None
    machine_id: UUID | None
    event: str
    step: str
    progress: int
    sequence: int
    error_code: str
    error_message: Message
    error_reference: str
    is_retryable: bool
    console_tail: str
    config: str
    power: str

    @property
    def is_end(self) -> bool:
        return self.event in contract.ENDS or self.event == "ERROR"

    def error_columns(self) -> dict[str, Any]:
        """The error of a failed end, as columns of a job or of a side of a migration."""
        return {
            "error_code": self.error_code,
            "error_message": self.error_message,
            "error_reference": self.error_reference,
        }


def read(report: contract.Report) -> SanitizedReport:
    """Return the report with bounded and cleaned values."""
    code = clean(report.error_code, 40)
    code = INTERNAL_ERROR if code == FORMER_CODE else code
    return SanitizedReport(
        job_id=read_id(report.job_id),
        machine_id=read_id(report.machine_id),
        event="ERROR" if report.event == "FAILED" and code == INTERNAL_ERROR else report.event,
        step=clean(report.step, 24),
        progress=100 if report.event == "SUCCEEDED" else min(max(report.progress, 0), 100),
        sequence=min(max(report.sequence, -1), MAX_SEQUENCE),
        error_code=code,
        error_message=Message.of_host(
            kind=code,
            reason=report.error_reason,
            params=report.error_params,
            text=report.error_message,
            details=report.error_details,
        ),
        error_reference=clean(report.error_reference, 40),
        is_retryable=report.is_retryable,
        console_tail=clean(
            contract.readable_console(report.console_tail[-MAX_CONSOLE_TAIL:]), MAX_CONSOLE_TAIL
        ),
        config=clean(report.config, MAX_CONFIG),
        power=report.power,
    )


def read_facts(facts: contract.MoveFacts) -> dict[str, Any]:
    """A host's facts about its side of a migration, as JSON for the row."""
    told = dataclasses.asdict(facts)
    for word in ("port", "bytes_sent", "memory_mib", "passes", "blackout_ms"):
        told[word] = min(max(told[word], -1), MAX_COUNT)
    for word in ("rate_mib_s", "remaining_seconds"):
        told[word] = min(max(told[word], -1.0), 1e9) if math.isfinite(told[word]) else -1.0
    if facts.domains is not None:
        told["domains"] = [_domain(domain) for domain in facts.domains[:MAX_DOMAINS]]
    return told


def _domain(domain: contract.DomainSeen) -> dict[str, Any]:
    seconds = domain.cpu_seconds if math.isfinite(domain.cpu_seconds) else 0.0
    return dataclasses.asdict(domain) | {
        "domain": clean(domain.domain, 120),
        "uuid": clean(domain.uuid, 40),
        "cpu_seconds": seconds,
    }


def read_id(untrusted: str) -> UUID | None:
    """Parse a UUID in its canonical form; UUID() alone also accepts braces and urn:."""
    try:
        found = UUID(untrusted)
    except ValueError:
        return None
    return found if str(found) == untrusted else None

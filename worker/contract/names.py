"""Names and units that both sides use: ids, hosts, tasks, queues, Redis keys."""

import re

MIB = 1 << 20
#: an id of a machine, a disk, a job or a domain, as it is written everywhere
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
MAX_HOST_NAME = 63
HOST_NAME_RULE = (
    "Letters, digits, hyphens and dots, at most 63 characters; each part between the dots begins and ends"
    " with a letter or a digit."
)
_LABEL = "[a-z0-9]([a-z0-9-]*[a-z0-9])?"
_HOST_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")

TASK_OBEY = "worker.obey"
TASK_REPORT = "webxen.report"
TASK_OBSERVATION = "webxen.observation"
#: one queue for all hosts, written by older workers, and by newer ones when the portal is older
QUEUE_REPORTS = "reports"

_OBSERVATIONS = ".seen"
#: (messages, seconds) kept on a host's queues while the portal is unavailable. End reports are also in the
#: host's journal. Of the observations only the newest matters, and only for a short time.
REPORTS_KEPT = (1000, 24 * 3600)
OBSERVATIONS_KEPT = (1, 60)


def read_host_name(untrusted: str) -> str:
    """A host's name as it is kept: in lower case, as names of the DNS are the same in capitals.

    A short name or one with its domain. Raises ValueError with the rule.
    """
    name = untrusted.strip().lower()
    if len(name) > MAX_HOST_NAME or not _HOST_NAME.fullmatch(name):
        raise ValueError(HOST_NAME_RULE)
    return name


def host_in_keys(host: str) -> str:
    """A host's name as it stands in the broker's keys, without a dot.

    A host may use every key that begins with its own name and a dot: `xen1` would otherwise have the keys of
    `xen1.example.org`. No host's name has an underscore, so no two names become one.
    """
    return host.replace(".", "_")


def queue_for(host: str) -> str:
    """Name of the Celery queue that only `host` reads."""
    return f"dom0.{host_in_keys(host)}"


def report_queue_for(host: str) -> str:
    """Name of the queue of a host's reports, which only `host` writes."""
    return f"{QUEUE_REPORTS}.{host_in_keys(host)}"


def observation_queue_for(host: str) -> str:
    """Name of the queue of a host's observations, which only `host` writes."""
    return f"{report_queue_for(host)}{_OBSERVATIONS}"


def limits_of(queue: str) -> tuple[int, int] | None:
    """The number of messages kept on a queue, and for how many seconds; None: the queue has no limit."""
    if not queue.startswith(f"{QUEUE_REPORTS}."):
        return None
    return OBSERVATIONS_KEPT if queue.endswith(_OBSERVATIONS) else REPORTS_KEPT


def console_out_key(host: str, machine_id: str) -> str:
    """Redis stream of the machine's console output; entries {"o": offset, "d": bytes}."""
    return f"{queue_for(host)}.console.{machine_id}.out"


def console_in_key(host: str, machine_id: str) -> str:
    """Redis stream of what is typed at the machine's console; entries {"d": bytes}."""
    return f"{queue_for(host)}.console.{machine_id}.in"


def console_state_key(host: str, machine_id: str) -> str:
    """Redis hash: state (attached, detached), reason, end (offset after the last byte), start."""
    return f"{queue_for(host)}.console.{machine_id}.state"

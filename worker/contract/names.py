"""Names that both sides use: tasks, queues, Redis keys."""

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


def queue_for(host: str) -> str:
    """Name of the Celery queue that only `host` reads."""
    return f"dom0.{host}"


def report_queue_for(host: str) -> str:
    """Name of the queue of a host's reports, which only `host` writes."""
    return f"{QUEUE_REPORTS}.{host}"


def observation_queue_for(host: str) -> str:
    """Name of the queue of a host's observations, which only `host` writes."""
    return f"{QUEUE_REPORTS}.{host}{_OBSERVATIONS}"


def limits_of(queue: str) -> tuple[int, int] | None:
    """The number of messages kept on a queue, and for how many seconds; None: the queue has no limit."""
    if not queue.startswith(f"{QUEUE_REPORTS}."):
        return None
    return OBSERVATIONS_KEPT if queue.endswith(_OBSERVATIONS) else REPORTS_KEPT


def console_out_key(host: str, machine_id: str) -> str:
    """Redis stream of the machine's console output; entries {"o": offset, "d": bytes}."""
    return f"dom0.{host}.console.{machine_id}.out"


def console_in_key(host: str, machine_id: str) -> str:
    """Redis stream of what is typed at the machine's console; entries {"d": bytes}."""
    return f"dom0.{host}.console.{machine_id}.in"


def console_state_key(host: str, machine_id: str) -> str:
    """Redis hash: state (attached, detached), reason, end (offset after the last byte), start."""
    return f"dom0.{host}.console.{machine_id}.state"

"""Names both sides know: tasks, queues, Redis keys. No message lives here."""

TASK_OBEY = "worker.obey"
TASK_REPORT = "webxen.report"
TASK_OBSERVATION = "webxen.observation"
#: one queue for all hosts: older workers write here, and newer ones where the portal is older
QUEUE_REPORTS = "reports"

_OBSERVATIONS = ".seen"
#: (messages, seconds) kept on a host's queues while the portal is away. Ends are in the host's journal;
#: of what a host says of itself only the newest counts, and that not for long.
REPORTS_KEPT = (1000, 24 * 3600)
OBSERVATIONS_KEPT = (1, 60)


def queue_for(host: str) -> str:
    """Name of the Celery queue only `host` reads."""
    return f"dom0.{host}"


def report_queue_for(host: str) -> str:
    """Name of the queue that only `host` writes: what it says of its jobs."""
    return f"{QUEUE_REPORTS}.{host}"


def observation_queue_for(host: str) -> str:
    """Name of the queue that only `host` writes: what it says of itself."""
    return f"{QUEUE_REPORTS}.{host}{_OBSERVATIONS}"


def limits_of(queue: str) -> tuple[int, int] | None:
    """How many messages are kept on a queue and for how many seconds; None: no limit of its own."""
    if not queue.startswith(f"{QUEUE_REPORTS}."):
        return None
    return OBSERVATIONS_KEPT if queue.endswith(_OBSERVATIONS) else REPORTS_KEPT


def console_out_key(host: str, machine_id: str) -> str:
    """Redis stream of console bytes from the machine; entries {"o": offset, "d": bytes}."""
    return f"dom0.{host}.console.{machine_id}.out"


def console_in_key(host: str, machine_id: str) -> str:
    """Redis stream of bytes typed at the machine; entries {"d": bytes}."""
    return f"dom0.{host}.console.{machine_id}.in"


def console_state_key(host: str, machine_id: str) -> str:
    """Redis hash: state (attached, detached), reason, end (offset after the last byte), start."""
    return f"dom0.{host}.console.{machine_id}.state"

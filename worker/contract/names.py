"""Names both sides know: tasks, queues, Redis keys. No message lives here."""

TASK_OBEY = "worker.obey"
TASK_REPORT = "webxen.report"
TASK_OBSERVATION = "webxen.observation"
QUEUE_REPORTS = "reports"


def queue_for(host: str) -> str:
    """Name of the Celery queue only `host` reads."""
    return f"dom0.{host}"


def console_out_key(host: str, machine_id: str) -> str:
    """Redis stream of console bytes from the machine; entries {"o": offset, "d": bytes}."""
    return f"dom0.{host}.console.{machine_id}.out"


def console_in_key(host: str, machine_id: str) -> str:
    """Redis stream of bytes typed at the machine; entries {"d": bytes}."""
    return f"dom0.{host}.console.{machine_id}.in"


def console_state_key(host: str, machine_id: str) -> str:
    """Redis hash: state (attached, detached), reason, end (offset after the last byte), start."""
    return f"dom0.{host}.console.{machine_id}.state"

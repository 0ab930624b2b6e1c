"""The worker's processes in a dom0: what is started and with which settings.

Lives here: the one list of their command lines. Nothing here starts them.
"""


def service_lines(host: str) -> dict[str, list[str]]:
    """Each service's name and argument list."""
    celery = ["python3", "-m", "celery", "-A", "worker.app", "worker", "--queues", f"dom0.{host}"]
    celery += ["--concurrency", "2", "--loglevel", "INFO", "--without-mingle", "--without-gossip"]
    return {
        "worker": [*celery, "-n", f"{host}@dom0"],
        "consoled": ["python3", "-m", "worker.consoled"],
        "observe": ["python3", "-m", "worker.observe"],
    }


def environment(host: str) -> dict[str, str]:
    """The settings every dom0 has; the broker's address comes from the caller."""
    return {
        "WEBXEN_HOST": host,
        "WEBXEN_STATE_DIR": "/var/lib/webxen",
        "WEBXEN_HOST_KEY_FILE": "/etc/webxen/host.key",
        "WEBXEN_PORTAL_KEY_FILE": "/etc/webxen/portal.pub",
        "WEBXEN_XL": "/usr/sbin/xl",
        "PYTHONPATH": "/opt/webxen:/opt/webxen/lib",
        "PYTHONUNBUFFERED": "1",
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    }

"""The command lines and settings of the worker's processes in a dom0."""

#: account of the listener, which owns nothing and can read neither the host's key nor its disks
LISTENER_USER = "webxen"
#: account of the relay, which owns its own key; the lab's image has no such account and uses a number
RELAY_USER = "webxen-relay"
RELAY_UID = 64001
POWERLESS = ("--no-new-privs", "--bounding-set=-all", "--inh-caps=-all")


def service_lines(host: str) -> dict[str, list[str]]:
    """The argument list of each service."""
    celery = [
        "python3",
        "-m",
        "celery",
        "-A",
        "worker.listener.celery_app",
        "worker",
    ]
    celery += ["--concurrency", "1", "--loglevel", "INFO", "--without-mingle"]
    # Heartbeats are broadcasts, which the host's account may not send, so Celery would reconnect every 2 s.
    celery += ["--without-gossip", "--without-heartbeat"]
    return {
        "agent": ["python3", "-m", "worker.agent.daemon"],
        "listener": [*celery, "-n", f"{host}@dom0"],
        "consoled": ["python3", "-m", "worker.console.daemon"],
        "relay": ["python3", "-m", "worker.relayd.daemon"],
    }


def as_on_dom0(host: str) -> dict[str, list[str]]:
    """The same for a dom0 where root starts them: the listener drops root, and the agent does not get the
    broker's URL.
    """
    give_up = ["setpriv", f"--reuid={LISTENER_USER}", f"--regid={LISTENER_USER}", "--init-groups"]
    owner = f"-o {RELAY_UID} -g {RELAY_UID} -m 0700"
    relay_dirs = f"install -d {owner} /run/webxen-relay /var/lib/webxen-relay"
    give_up_for_relay = ["setpriv", f"--reuid={RELAY_UID}", f"--regid={RELAY_UID}", "--clear-groups"]
    before = {
        "agent": ["env", "-u", "WEBXEN_BROKER_URL"],
        "listener": [*give_up, *POWERLESS],
        "relay": ["sh", "-c", f'{relay_dirs} && exec "$@"', "sh", *give_up_for_relay, *POWERLESS],
    }
    return {name: [*before.get(name, []), *argv] for name, argv in service_lines(host).items()}


def environment(host: str) -> dict[str, str]:
    """The settings of every dom0. The caller adds the broker's address."""
    return {
        "WEBXEN_HOST": host,
        "WEBXEN_STATE_DIR": "/var/lib/webxen",
        "WEBXEN_HOST_KEY_FILE": "/etc/webxen/host.key",
        "WEBXEN_PORTAL_KEY_FILE": "/etc/webxen/portal.pub",
        "WEBXEN_XL": "/usr/sbin/xl",
        # the lab hosts' own network: on QEMU's user network each of them has the same address
        "WEBXEN_RELAY_ADDRESS": f"10.99.0.{host.removeprefix('xen')}",
        "PYTHONPATH": "/opt/webxen:/opt/webxen/lib",
        "PYTHONUNBUFFERED": "1",
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    }

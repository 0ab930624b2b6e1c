"""The worker under systemd in a dom0 of the lab: the units of packaging/systemd, installed as
docs/operating.md says.

Only for a lab with WEBXEN_LAB_INIT=systemd.
"""

from pathlib import Path

from devtools.lab import qemu

PACKAGING = Path(__file__).resolve().parents[2] / "packaging" / "systemd"
_PLACES = {
    "webxen.sysusers.conf": "/usr/lib/sysusers.d/webxen.conf",
    "webxen.tmpfiles.conf": "/usr/lib/tmpfiles.d/webxen.conf",
}
#: the libraries are found by PYTHONPATH in worker.env, so the environment's Python is the dom0's own
INSTALL = (
    "install -d -m 0755 /opt/webxen/bin && ln -sfn /usr/bin/python3 /opt/webxen/bin/python"
    " && systemd-sysusers && systemd-tmpfiles --create webxen.conf && systemctl daemon-reload"
    " && systemctl -q enable webxen-agent webxen-listener webxen-consoled webxen-relay"
)


def are_used() -> bool:
    return qemu.INIT == "systemd"


def files() -> dict[str, tuple[bytes, int]]:
    """The path on a host, content and mode of each file."""
    found = {path.name: path.read_bytes() for path in sorted(PACKAGING.iterdir())}
    return {_PLACES.get(name, f"/etc/systemd/system/{name}"): (data, 0o644) for name, data in found.items()}


def without_the_brokers_address(env: dict[str, str]) -> tuple[dict[str, str], dict[str, tuple[bytes, int]]]:
    """The settings as `webxen-worker join` writes them, with the broker's URL in a file of its own."""
    rest = {name: value for name, value in env.items() if name != "WEBXEN_BROKER_URL"}
    url = env.get("WEBXEN_BROKER_URL")
    return rest, {"/etc/webxen/broker.url": (f"{url}\n".encode(), 0o600)} if url else {}

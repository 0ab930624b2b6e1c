"""The dom0s of one development portal: real ones in the lab, or folders with the stand-in xl.

Both have the same interface for `devtools.lab.portal`.
"""

import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from devtools import fakexl
from devtools.lab import guests, lab, services
from devtools.lab.host import LabHost
from devtools.lab.paths import lab_paths
from devtools.lab.processes import Desk, keep_secret, read_or_make
from worker.contract import broker_policy
from worker.identity import keys

#: the address of this machine in QEMU's user network
QEMU_HOST_ADDRESS = "10.0.2.2"


class Dom0(Protocol):
    """A dom0 whose worker can be started."""

    name: str
    #: command for a root shell there; "" for the stand-in
    ssh: str
    #: address of the broker, seen from there
    broker_address: str
    public_key_file: Path
    #: the images that the portal offers, in the format of `prepare_desk --images`
    images: list[dict[str, Any]]

    def start_worker(self, broker_url: str, portal_key: str, env: Mapping[str, str]) -> datetime:
        """Start the services that do not run or have changed.

        Observations after the returned time are from them.
        """
        ...


def prepare(kind: str, desk: Desk, names: list[str]) -> list[Dom0]:
    """Start the dom0s and install their images. Workers are not started yet."""
    if kind == "fake":
        return [FakeDom0(desk, name) for name in names]
    lab.install_missing()
    built = guests.build(print)
    guests.stage(built, lab_paths().store)
    running = lab.up(hosts=len(names), say=print)
    found: list[Dom0] = []
    for host in running:
        guests.install(host, built, print)
        found.append(LabDom0(desk, host, [image.as_row() for image in built]))
    return found


def leave(desk: Desk) -> None:
    """Stop the dom0s; their disks and machines are kept."""
    lab.down()
    for folder in sorted((desk.data / "hosts").glob("*/xl")):
        fakexl.power_off(folder)


class LabDom0:
    """A real dom0 in QEMU."""

    broker_address = QEMU_HOST_ADDRESS

    def __init__(self, desk: Desk, host: LabHost, images: list[dict[str, Any]]) -> None:
        self.name, self.ssh, self.images = host.name, host.ssh_command, images
        self._host = host
        self._folder = _host_folder(desk, host.name)
        self.public_key_file = _keep_key(self._folder)

    def start_worker(self, broker_url: str, portal_key: str, env: Mapping[str, str]) -> datetime:
        since = datetime.now(UTC)
        files = {
            "/etc/webxen/host.key": (self._folder / "host.key").read_bytes(),
            "/etc/webxen/portal.pub": portal_key.encode(),
        }
        is_new = self._host.push_worker()
        # QEMU's user network ends in this machine's loopback, so no other machine can listen
        env_file = {
            "WEBXEN_BROKER_URL": broker_url,
            "WEBXEN_ALLOW_PLAIN_BROKER": broker_policy.PLAIN_WORDS,
            **self._host.pools(),
        }
        is_changed = self._host.configure(env_file, files)
        self._host.share_pools()
        if (
            is_new
            or is_changed
            or not all(state.startswith("running") for state in self._host.service_status().values())
        ):
            self._host.restart_services()
            since = datetime.now(UTC)
        return since


class FakeDom0:
    """A folder with the stand-in xl and a worker on this machine."""

    ssh = ""
    broker_address = "127.0.0.1"

    def __init__(self, desk: Desk, name: str) -> None:
        self.name = name
        self._desk = desk
        self._folder = _host_folder(desk, name)
        self.public_key_file = _keep_key(self._folder)
        self._programs = fakexl.install(self._folder / "xl")
        # the layout of /sys/class/net
        (self._folder / "net" / "xenbr0" / "bridge").mkdir(parents=True, exist_ok=True)
        self.images = [row.as_row() for row in guests.install_local(self._folder / "state")]

    def start_worker(self, broker_url: str, portal_key: str, env: Mapping[str, str]) -> datetime:
        since = datetime.now(UTC)
        public = self._folder / "portal.pub"
        public.write_text(portal_key)
        settings = {
            **env,
            "WEBXEN_HOST": self.name,
            "WEBXEN_BROKER_URL_FILE": str(keep_secret(self._folder / "broker.url", broker_url)),
            "WEBXEN_STATE_DIR": str(self._folder / "state"),
            "WEBXEN_AGENT_SOCKET": str(self._folder / "state" / "agent.sock"),
            "WEBXEN_HOST_KEY_FILE": str(self._folder / "host.key"),
            "WEBXEN_PORTAL_KEY_FILE": str(public),
            "WEBXEN_XL": str(self._programs / "xl"),
            "WEBXEN_XENSTORE_DIR": str(self._programs),
            "WEBXEN_NETWORK_DIR": str(self._folder / "net"),
            "WEBXEN_RELAY_SOCKET": str(self._folder / "state" / "relay.sock"),
            "WEBXEN_RELAY_DIR": str(self._folder / "relay"),
            "WEBXEN_RELAY_ADDRESS": "127.0.0.1",
        }
        # the first would start Celery's Django fix-up; the others belong to the portal
        for name in ("DJANGO_SETTINGS_MODULE", "WEBXEN_SECRET_KEY_FILE", "WEBXEN_REDIS_URL_FILE"):
            settings.pop(name, None)
        for service, argv in services.service_lines(self.name).items():
            self._desk.start(f"{self.name}-{service}", [sys.executable, *argv[1:]], settings)
        return since


def _host_folder(desk: Desk, name: str) -> Path:
    folder = desk.data / "hosts" / name
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    return folder


def _new_key() -> str:
    return keys.generate()[0].decode()


def _keep_key(folder: Path) -> Path:
    """Make the host's key once. Returns the file of its public key."""
    private, public = folder / "host.key", folder / "host.pub"
    read_or_make(private, _new_key)
    public.write_bytes(keys.public_of(private.read_bytes()))
    return public

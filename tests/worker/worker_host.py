"""A dom0 for the worker's tests: the stand-in xl, a state directory, keys, images, and signed orders."""

import dataclasses
import hashlib
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from devtools.fakexl import Settings as StandInSettings
from devtools.fakexl import StandIn
from tests.worker.console_bench import ROOT, wait_for
from tests.worker.listener import Listener
from tests.worker.quick_xl import QuickXl
from worker import contract
from worker.agent import executor
from worker.contract import (
    ENDS,
    DiskSpec,
    ImageSpec,
    MachineSpec,
    NicSpec,
    Order,
    Report,
    SeedSpec,
    seal,
)
from worker.identity import keys
from worker.ipc.errors import PortalAway
from worker.job.context import HostContext
from worker.job.journal import Journal
from worker.job.reporting import Reporter
from worker.settings import Settings, read

HASH = "$6$saltsalt$" + "a" * 86
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKHEChuLlJ8u8VlIYyLKAcJMOlA2uCdIWwsqOAxWaABC alice@laptop"
#: each verb's order, by its name
VERBS: dict[str, Any] = {verb.action: verb.order for verb in contract.VERBS.values()}


def run(*argv: str) -> str:
    """Run a program for the test's own purposes."""
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60).stdout


def make_root(directory: Path) -> Path:
    """The files of a small Debian-like guest."""
    root = directory / "root"
    for name in ("etc/network", "etc/systemd/network", "root", "sbin", "dev"):
        (root / name).mkdir(parents=True)
    (root / "etc/shadow").write_text("root:*:19000:0:99999:7:::\ndaemon:*:19000:0:99999:7:::\n")
    (root / "etc/shadow").chmod(0o640)
    (root / "etc/hostname").write_text("template\n")
    (root / "etc/hosts").write_text("127.0.0.1 template\n")
    (root / "etc/network/interfaces").write_text("auto lo\n")
    (root / "etc/fstab").write_text("/dev/simfs / simfs defaults 0 0\nproc /proc proc defaults 0 0\n")
    (root / "sbin/init").write_text("#!/bin/sh\n")
    return root


def make_template(path: Path, directory: Path, *, size_mib: int = 8) -> None:
    root = make_root(directory)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as out:
        out.truncate(size_mib << 20)
    run("mke2fs", "-q", "-F", "-t", "ext4", "-d", str(root), str(path))


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class WorkerHost:
    """One dom0, and the portal's side of the connection."""

    def __init__(
        self, directory: Path, *, broker_url: str = "unix:///nowhere", name: str = "xen1", **host: Any
    ) -> None:
        self.directory = directory
        self.name = name
        self.stand_in = StandIn.at(directory / "fake", StandInSettings(**{"boot_seconds": 0.1, **host}))
        self.state = directory / "state"
        host_private, self.host_public = keys.generate()
        self.portal_private, portal_public = keys.generate()
        (directory / "host.key").write_bytes(host_private)
        (directory / "portal.pub").write_bytes(portal_public)
        self.env = {
            "WEBXEN_HOST": name,
            "WEBXEN_BROKER_URL": broker_url,
            "WEBXEN_STATE_DIR": str(self.state),
            "WEBXEN_AGENT_SOCKET": str(directory / "agent.sock"),
            "WEBXEN_HOST_KEY_FILE": str(directory / "host.key"),
            "WEBXEN_PORTAL_KEY_FILE": str(directory / "portal.pub"),
            "WEBXEN_XL": self.stand_in.xl,
            "WEBXEN_XENSTORE_DIR": str(self.stand_in.programs),
            "WEBXEN_RELAY_SOCKET": str(directory / "relay.sock"),
            "WEBXEN_RELAY_DIR": str(directory / "relay"),
            "WEBXEN_RELAY_ADDRESS": "127.0.0.1",
        }
        self.settings: Settings = read(self.env)
        self.settings.make_directories()
        (self.settings.kernels_dir / "vmlinuz").write_bytes(b"kernel")
        (self.settings.kernels_dir / "initrd").write_bytes(b"initrd")
        self.reports: list[Report] = []
        self.is_portal_away = False
        self._processes: list[subprocess.Popen[bytes]] = []
        self._fence = 0
        self._listener: Listener | None = None

    # --- the worker's side ---------------------------------------------------------------------

    def dom0(self) -> HostContext:
        """A worker in this process; its reports are collected in a list."""
        journal = Journal(self.settings.journal_dir)
        return HostContext(
            settings=self.settings,
            xl=QuickXl(self.stand_in.xl),
            journal=journal,
            reporter=Reporter(self._take, on_end_told=journal.mark_told),
            verify=keys.read_verifier(self.settings.portal_key_file),
        )

    def _take(self, report: Report) -> None:
        if self.is_portal_away:
            raise PortalAway("the broker is away")
        self.reports.append(report)

    def process(
        self, *argv: str, log: str, env: Mapping[str, str] | None = None
    ) -> "subprocess.Popen[bytes]":
        """A process of the worker, with this host's environment."""
        with (self.directory / log).open("ab") as out:
            process = subprocess.Popen(
                [sys.executable, *argv],
                env={**os.environ, **self.env, "PYTHONPATH": str(ROOT), **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self._processes.append(process)
        return process

    def listen(self) -> None:
        """Write the console logs, without a separate process."""
        self._listener = Listener(self.stand_in.directory, self.settings.console_dir)

    def close(self) -> None:
        if self._listener is not None:
            self._listener.stop()
        for process in self._processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self.stand_in.power_off()

    # --- the portal's side ---------------------------------------------------------------------

    def template(self, *, size_mib: int = 8, **image: Any) -> ImageSpec:
        path = self.settings.images_dir / "minimal.ext4"
        if not path.exists():
            make_template(path, self.directory, size_mib=size_mib)
        values: dict[str, Any] = {
            "file": path.name,
            "sha256": digest(path),
            "format": "FILESYSTEM",
            "kernel": "vmlinuz",
            "ramdisk": "initrd",
        }
        return ImageSpec(**{**values, **image})

    def machine(self, image: ImageSpec | None = None, **values: Any) -> MachineSpec:
        machine_id = str(uuid.uuid4())
        defaults: dict[str, Any] = {
            "id": machine_id,
            "domain": f"m-{machine_id[:8]}",
            "vcpus": 1,
            "memory_mib": 128,
            "disks": (DiskSpec("root", "local", 16, "xvda"),),
            "nics": (NicSpec("00:16:3e:00:00:01", "xenbr0", "10.0.2.101", 24, "10.0.2.2", "10.0.2.3"),),
            "image": image or self.template(),
        }
        return MachineSpec(**{**defaults, **values})

    def order(self, verb: str, machine: MachineSpec, **values: Any) -> Order:
        self._fence += 1
        defaults: dict[str, Any] = {"job_id": str(uuid.uuid4()), "fence": self._fence, "machine": machine}
        if verb == "create":
            defaults["seed"] = SeedSpec("alices-box", (KEY,), HASH)
        return VERBS[verb](**{"deadline_seconds": 30, **defaults, **values})

    def envelope(self, order: Any, *, host: str = "", not_after: int = 0, key: bytes = b"") -> str:
        sign = keys.signer(key or self.portal_private)
        return seal(order, host=host or self.name, sign=sign, not_after=not_after or int(time.time()) + 600)

    def obey(self, dom0: HostContext, order: Order) -> Report:
        """Send an order and wait for its end."""
        executor.obey(dom0, self.envelope(order), now=int(time.time()))
        return self.end_of(order.job_id)

    def end_of(self, job_id: str, *, seconds: float = 30) -> Report:
        return wait_for(lambda: self._end(job_id), f"the end of job {job_id}", seconds)

    def _end(self, job_id: str) -> Report | None:
        ends = [r for r in self.reports if r.job_id == job_id and r.event in ENDS]
        return ends[-1] if ends else None

    def do(self, dom0: HostContext, verb: str, machine: MachineSpec, **values: Any) -> Report:
        return self.obey(dom0, self.order(verb, machine, **values))

    # --- queries -------------------------------------------------------------------------------

    def files_of(self, machine: MachineSpec) -> list[str]:
        """Return all files of a machine below the state directory, except fencing token, lock and console
        log.
        """
        found = [path for path in self.state.rglob(f"*{machine.id}*") if path.exists()]
        found += [path for top in found if top.is_dir() for path in top.rglob("*")]
        names = {str(path.relative_to(self.state)) for path in found}
        return sorted(name for name in names if not name.startswith(("fences/", "locks/", "console/")))

    def domains(self) -> list[str]:
        return [domain.uuid for domain in QuickXl(self.stand_in.xl).domains()]

    def disk(self, machine: MachineSpec, disk_id: str = "root") -> Path:
        return self.settings.disks_dir / machine.id / f"{disk_id}.img"


def cat(disk: Path, path: str) -> str:
    """Return a file of an ext4 image."""
    return run("debugfs", "-R", f"cat {path}", str(disk))


def mode_of(disk: Path, path: str) -> str:
    text = run("debugfs", "-R", f"stat {path}", str(disk))
    return text.split("Mode:")[1].split()[0]


def changed(spec: Any, **values: Any) -> Any:
    return dataclasses.replace(spec, **values)

"""One running dom0 of the lab, over ssh: runs commands, copies files, installs and starts the worker."""

import fcntl
import hashlib
import os
import shlex
import shutil
import tarfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from devtools.lab import services, units
from devtools.lab.paths import LabError, LabPaths
from worker import shell

WORKER_FOLDER = Path(__file__).resolve().parents[2] / "worker"
_MIB = 1 << 20
SHARED_GROUP = "shared"
_HASH_FILE = "/opt/webxen/worker.sha256"


@dataclass(frozen=True)
class LabHost:
    """A running dom0. `name` is its host name and its WEBXEN_HOST."""

    name: str
    ssh_port: int
    paths: LabPaths

    @property
    def ssh_command(self) -> str:
        """The command for a root shell in the dom0."""
        return shlex.join(self.ssh_argv(batch=False))

    def ssh_argv(self, *, batch: bool = True) -> list[str]:
        folder = self.paths.host(self.name)
        options = {
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": "/dev/null",
            "LogLevel": "ERROR",
            "IdentitiesOnly": "yes",
            "ConnectTimeout": "10",
            "ServerAliveInterval": "15",
            "ControlMaster": "auto",
            "ControlPath": str(folder / "ssh"),
            "ControlPersist": "300",
        }
        if batch:
            options["BatchMode"] = "yes"
        argv = ["ssh", "-F", "/dev/null", "-i", str(self.paths.keys / "id_lab"), "-p", str(self.ssh_port)]
        for name, value in options.items():
            argv += ["-o", f"{name}={value}"]
        return [*argv, "root@127.0.0.1"]

    def run(
        self,
        command: str | Sequence[str],
        *,
        timeout_seconds: float = 60,
        input_bytes: bytes | None = None,
        check: bool = False,
    ) -> shell.Result:
        """Run a command in the dom0: a shell line, or a literal argument list. Returns its result."""
        line = command if isinstance(command, str) else shlex.join(command)
        return shell.run(
            [*self.ssh_argv(), line],
            timeout_seconds=timeout_seconds,
            input_bytes=input_bytes,
            check=check,
        )

    def put(self, local: Path, remote: str, *, mode: int = 0o644) -> None:
        """Copy one file of any size, sparse in the dom0. Raises LabError, CommandFailed.

        It goes through a disk of QEMU's: emulated ssh copies a megabyte per second, this fifty times that.
        """
        size = local.stat().st_size
        transfer = self.paths.host(self.name) / "transfer.raw"
        target = shlex.quote(remote)
        # Direct I/O, because another file may have been read from the same place before.
        line = (
            f"set -e; mkdir -p $(dirname {target}); rm -f {target}.part;"
            f" dd if=/dev/vdd of={target}.part bs=1M count={-(-size // _MIB)} iflag=direct conv=sparse"
            f" status=none; truncate -s {size} {target}.part; chmod {mode:o} {target}.part;"
            f" mv {target}.part {target}"
        )
        with transfer.open("r+b") as disk, local.open("rb") as source:
            fcntl.flock(disk, fcntl.LOCK_EX)
            capacity = os.fstat(disk.fileno()).st_size
            if size > capacity:
                raise LabError(f"{local} is larger than the {capacity // _MIB} MiB the lab can carry.")
            shutil.copyfileobj(source, disk, _MIB)
            disk.flush()
            self.run(line, timeout_seconds=900, check=True)
            disk.truncate(0)
            disk.truncate(capacity)

    def put_bytes(self, data: bytes, remote: str, *, mode: int = 0o600) -> None:
        target = shlex.quote(remote)
        line = f"umask 077; cat > {target}.part && chmod {mode:o} {target}.part && mv {target}.part {target}"
        self.run(f"mkdir -p $(dirname {target}); {line}", input_bytes=data, check=True)

    def wait_until_ready(
        self, *, timeout_seconds: float, is_alive: Callable[[], bool] = lambda: True
    ) -> None:
        """Wait until `xl info` answers over ssh. Raises LabError."""
        deadline = time.monotonic() + timeout_seconds
        last = "no answer"
        while time.monotonic() < deadline and is_alive():
            try:
                result = self.run(["xl", "info"], timeout_seconds=20)
            except shell.CommandTimedOut as error:
                last = str(error)
                self.forget_connection()
                continue
            if result.rc == 0:
                return
            last = result.error_text.strip() or result.text.strip()
            time.sleep(0.5)
        log = self.paths.host(self.name) / "serial.log"
        raise LabError(
            f"{self.name} did not answer `xl info` within {timeout_seconds:g} s ({last[-200:]}). "
            f"What it printed is in {log}."
        )

    def set_clock(self, *, now: float) -> None:
        """Set the clock: a resumed dom0 has the time at which it was saved."""
        self.run(["date", "-s", f"@{now:.3f}"], timeout_seconds=30, check=True)

    def forget_connection(self) -> None:
        """Close the shared ssh connection, which does not survive a pause of the machine."""
        control = self.paths.host(self.name) / "ssh"
        if control.exists():
            try:
                *options, address = self.ssh_argv()
                shell.run([*options, "-O", "exit", address], timeout_seconds=5)
            except shell.CommandTimedOut:
                pass
            control.unlink(missing_ok=True)

    def push_worker(self, source: Path = WORKER_FOLDER) -> bool:
        """Copy the working tree's worker into the dom0. Returns whether it differs from the one there."""
        archive = pack_worker(source)
        digest = hashlib.sha256(archive).hexdigest()
        known = self.run(["cat", _HASH_FILE], timeout_seconds=30)
        if known.rc == 0 and known.text.strip() == digest:
            return False
        line = (
            "set -e; rm -rf /opt/webxen/next; mkdir -p /opt/webxen/next; tar -C /opt/webxen/next -xf -;"
            " rm -rf /opt/webxen/worker; mv /opt/webxen/next/worker /opt/webxen/worker;"
            f" rmdir /opt/webxen/next; echo {digest} > {_HASH_FILE}"
        )
        self.run(line, timeout_seconds=60, input_bytes=archive, check=True)
        return True

    def configure(self, env: Mapping[str, str], files: Mapping[str, bytes]) -> bool:
        """Write the worker's settings, files and services. Returns whether anything changed."""
        wanted = {path: (data, 0o600) for path, data in files.items()}
        full, after = {**services.environment(self.name), **env}, "true"
        if units.are_used():
            full, secret = units.without_the_brokers_address(full)
            wanted |= units.files() | secret
            after = units.INSTALL
        lines = "".join(f"{name}={shlex.quote(value)}\n" for name, value in sorted(full.items()))
        wanted["/etc/webxen/worker.env"] = (lines.encode(), 0o600)
        for name, argv in services.as_on_dom0(self.name).items():
            wanted[f"/etc/webxen/services/{name}"] = (shlex.join(argv).encode() + b"\n", 0o644)
        archive = _pack({path.lstrip("/"): value for path, value in wanted.items()})
        digest = hashlib.sha256(archive).hexdigest()
        line = (
            'set -e; umask 077; [ "$(cat /etc/webxen/sha256 2>/dev/null)" != '
            f"{digest} ] || {{ cat > /dev/null; echo same; exit 0; }}; rm -f /etc/webxen/services/*;"
            f" tar -C / -xf -; umask 022; {after}; echo {digest} > /etc/webxen/sha256"
        )
        result = self.run(line, timeout_seconds=60, input_bytes=archive, check=True)
        return result.text.strip() != "same"

    def pools(self) -> dict[str, str]:
        """The settings of the volume group that two hosts of the lab share; {} with one host."""
        if self.run(["vgs", "--noheadings", SHARED_GROUP], timeout_seconds=60).rc != 0:
            return {}
        number = self.name.removeprefix("xen")
        return {"WEBXEN_LVM_POOLS": SHARED_GROUP, "WEBXEN_HOST_NUMBER": number}

    def share_pools(self) -> None:
        """Make the group a shared pool, once, with the worker that was installed and configured."""
        if self.pools():
            command = "set -a; . /etc/webxen/worker.env; python3 -m worker share-pool " + SHARED_GROUP
            self.run(command, timeout_seconds=180, check=True)

    def restart_services(self) -> None:
        self.run(["webxen-services", "restart"], timeout_seconds=60, check=True)

    def stop_services(self) -> None:
        self.run(["webxen-services", "stop"], timeout_seconds=60, check=True)

    def service_status(self) -> dict[str, str]:
        """The state of each service: "running PID" or "stopped"."""
        result = self.run(["webxen-services", "status"], timeout_seconds=30)
        pairs = (line.partition(" ") for line in result.text.splitlines())
        return {name: state for name, _, state in pairs if state}


def _pack(files: Mapping[str, tuple[bytes, int]]) -> bytes:
    """A tar of these files, reproducible byte for byte."""
    out = BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, (data, mode) in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), mode
            archive.addfile(entry, BytesIO(data))
    return out.getvalue()


def pack_worker(source: Path) -> bytes:
    """A tar of the worker as the dom0 gets it, without compiled files."""
    files = {}
    for path in sorted(source.rglob("*")):
        relative = path.relative_to(source)
        if path.is_file() and "__pycache__" not in relative.parts:
            mode = 0o755 if os.access(path, os.X_OK) else 0o644
            files[f"worker/{relative}"] = (path.read_bytes(), mode)
    return _pack(files)

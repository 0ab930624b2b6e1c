"""Starts, pauses and resumes one dom0.

The most important rule: a disk that was used never goes back in time. A saved state is loaded once, and only
with the disks it was saved with. After anything else (QEMU killed, image rebuilt) the dom0 is booted cold and
its disks are kept.
"""

import contextlib
import enum
import json
import os
import shutil
import signal
import socket
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from devtools.lab import qemu
from devtools.lab.host import LabHost
from devtools.lab.image import Image, Say
from devtools.lab.paths import LabError, LabPaths
from devtools.lab.qemu import Seat
from devtools.lab.qmp import Qmp
from worker import shell

COLD_BOOT_SECONDS = float(os.environ.get("WEBXEN_LAB_BOOT_SECONDS", "300"))
RESUME_SECONDS = 120.0


@dataclass
class Record:
    """What is stored about a dom0 between two calls."""

    ssh_port: int = 0
    identity: str = ""
    saved: bool = False
    started_at: float = field(default_factory=time.time)


@dataclass(frozen=True)
class Dom0:
    """One dom0: its place in the lab, and the folder with its disks."""

    paths: LabPaths
    seat: Seat

    @property
    def folder(self) -> Path:
        return self.paths.host(self.seat.name)

    @property
    def state(self) -> Path:
        return self.folder / "state.zst"

    @property
    def data(self) -> Path:
        return self.folder / "data.raw"

    def read(self) -> Record:
        path = self.folder / "record.json"
        return Record(**json.loads(path.read_text())) if path.exists() else Record()

    def write(self, record: Record) -> None:
        part = self.folder / "record.json.part"
        part.write_text(json.dumps(asdict(record)))
        part.rename(self.folder / "record.json")

    def host(self) -> LabHost:
        return LabHost(self.seat.name, self.read().ssh_port, self.paths)

    def pid(self) -> int | None:
        """The process id of its QEMU; None if it does not run."""
        try:
            pid = int((self.folder / "pid").read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError):
            return None
        return pid if f"{self.folder}/pid".encode() in command else None


def free_port(preferred: int) -> int:
    """A free TCP port on the loopback, the preferred one if possible. Raises LabError."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise LabError("No port is free on 127.0.0.1.")


class Way(enum.Enum):
    """How a dom0 is started; the value is printed."""

    RESUME = "resuming where it was paused"
    FIRST_BOOT = "resuming from the state after its first boot"
    COLD = "booting"


def choose_way(
    record: Record, identity: str, *, has_state: bool, has_data: bool, has_first_boot: bool
) -> Way:
    """The fastest start that takes no used disk back in time."""
    if has_data and has_state and record.saved and record.identity == identity:
        return Way.RESUME
    if not has_data and has_first_boot:
        return Way.FIRST_BOOT
    return Way.COLD


def start(dom0: Dom0, image: Image, *, accel: str, say: Say) -> LabHost:
    """Start the dom0 the fastest way that keeps its disks. Returns when it answers `xl info`.

    Raises LabError.
    """
    if dom0.pid() is not None:
        try:
            return _join_running(dom0, say=say)
        except LabError as error:
            say(f"  {dom0.seat.name} does not go on ({error}); booting it with its disks")
            end(dom0)
    dom0.folder.mkdir(parents=True, exist_ok=True)
    identity = qemu.identity(image, dom0.seat, accel=accel)
    record = dom0.read()
    _create_sparse(dom0.paths.shared_disk, qemu.SHARED_GIB)
    boot = _kept_boot(dom0.paths, identity)
    way = choose_way(
        record,
        identity,
        has_state=dom0.state.exists(),
        has_data=dom0.data.exists(),
        has_first_boot=(boot / "complete").exists(),
    )
    if way is Way.COLD:
        return _boot_cold(dom0, image, identity, accel=accel, say=say)
    if way is Way.FIRST_BOOT:
        # the data disk last: if it exists, nothing is copied again
        for name in ("root.qcow2", "state.zst", "data.raw"):
            part = dom0.folder / f"{name}.part"
            _copy(boot / name, part)
            part.rename(dom0.folder / name)
    try:
        return _resume(dom0, image, identity, accel=accel, say=say, how=way.value)
    except LabError as error:
        say(f"  {dom0.seat.name} could not be resumed ({error}); booting it with its disks")
        end(dom0)
        return _boot_cold(dom0, image, identity, accel=accel, say=say)


def _join_running(dom0: Dom0, *, say: Say) -> LabHost:
    """Use a dom0 whose QEMU runs.

    Continue one that is stopped because the program that resumed or saved it was killed.
    """
    with Qmp(dom0.folder / "qmp", timeout_seconds=60) as qmp:
        deadline = time.monotonic() + 60
        while qmp.status() == "inmigrate":
            # a "cont" sent while the state is still loading is lost
            if time.monotonic() > deadline:
                raise LabError("its saved state does not come in")
            time.sleep(0.05)
        if qmp.status() != "running":
            # it is about to write to its disks, so a saved state does not fit them any more
            dom0.state.unlink(missing_ok=True)
            qmp.ask("cont")
            say(f"  {dom0.seat.name} was stopped half-way through a start or a pause; it goes on")
    host = dom0.host()
    host.wait_until_ready(timeout_seconds=RESUME_SECONDS, is_alive=lambda: dom0.pid() is not None)
    host.set_clock(now=time.time())
    say(f"  {dom0.seat.name} is running")
    return host


def _copy(source: Path, target: Path) -> None:
    argv = ["cp", "--sparse=always", "--reflink=auto", str(source), str(target)]
    shell.run(argv, timeout_seconds=300, check=True)


def _create_sparse(path: Path, gib: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # append mode: if an earlier call was killed before the disk had its size, its content is kept
    with path.open("ab") as disk:
        if disk.tell() < gib << 30:
            disk.truncate(gib << 30)


def _kept_boot(paths: LabPaths, identity: str) -> Path:
    """The folder of the state after a first boot with this content of the store."""
    key = paths.store / "key"
    return paths.boots / (f"{identity}-{key.read_text().strip()}" if key.exists() else identity)


def _create_data_disk(path: Path, store: Path) -> None:
    """Make a disk for /var/lib/webxen with the content of the store.

    Copying some hundred MiB over ssh into an emulated machine would take minutes.
    """
    part = path.with_suffix(".part")
    part.unlink(missing_ok=True)
    options = ["-m", "0", "-J", "size=16", "-E", "lazy_itable_init=1,root_owner=0:0", "-L", "webxen"]
    options += ["-d", str(store)] if store.exists() else []
    argv = ["mke2fs", "-q", "-t", "ext4", *options, str(part), f"{qemu.DATA_GIB}G"]
    shell.run(argv, timeout_seconds=300, check=True)
    part.rename(path)


def _create_root(dom0: Dom0, image: Image) -> None:
    """A new layer over the image.

    The backing path is relative, because boots/X and run/X have the same depth.
    """
    root = dom0.folder / "root.qcow2"
    root.unlink(missing_ok=True)
    backing = f"../../images/{image.disk.name}"
    argv = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", backing, str(root)]
    shell.run(argv, timeout_seconds=60, check=True)


def _launch(dom0: Dom0, image: Image, identity: str, *, accel: str, extra: list[str]) -> None:
    """Start QEMU and wait until its control socket answers. Raises LabError."""
    for name in ("qmp", "serial", "pid", "ssh"):
        (dom0.folder / name).unlink(missing_ok=True)
    if dom0.seat.number == 1:
        dom0.paths.lan_socket.unlink(missing_ok=True)
    serial = dom0.folder / "serial.log"
    if serial.exists():
        serial.rename(dom0.folder / "serial.log.1")
    port = free_port(dom0.read().ssh_port)
    dom0.write(Record(ssh_port=port, identity=identity))
    _create_sparse(dom0.folder / "transfer.raw", qemu.TRANSFER_GIB)
    argv = ["qemu-system-x86_64", *qemu.machine_arguments(image, dom0.seat, accel=accel)]
    argv += qemu.disk_arguments(dom0.paths, dom0.seat)
    argv += qemu.net_arguments(dom0.paths, dom0.seat, ssh_port=port)
    argv += [*qemu.control_arguments(dom0.paths, dom0.seat), *extra]
    log = dom0.folder / "qemu.log"
    log.write_bytes(b"")
    process = shell.spawn(argv, log_path=log)
    _prefer(process.pid)
    deadline = time.monotonic() + 30
    while not (dom0.folder / "qmp").exists() or dom0.pid() is None:
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            said = log.read_text(errors="replace").strip()[-400:]
            raise LabError(f"QEMU did not start {dom0.seat.name}: {said or 'it said nothing'}")
        time.sleep(0.05)


def _prefer(pid: int) -> None:
    """Raise QEMU's priority over other programs of this machine; it is idle most of the time.

    libxl kills a hotplug script after 40 s, however slow the dom0 is. Linux schedules sessions before
    processes ("autogroup", sched(7)), so the session's nice value matters.
    """
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text("-10")
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, -5)


def _boot_cold(dom0: Dom0, image: Image, identity: str, *, accel: str, say: Say) -> LabHost:
    begun = time.monotonic()
    say(f"  {dom0.seat.name}: booting Xen and its dom0 ({accel}) …")
    dom0.state.unlink(missing_ok=True)
    is_new = not dom0.data.exists()
    if is_new:
        _create_data_disk(dom0.data, dom0.paths.store)
    _create_root(dom0, image)
    _launch(dom0, image, identity, accel=accel, extra=[])
    host = dom0.host()
    host.wait_until_ready(timeout_seconds=COLD_BOOT_SECONDS, is_alive=lambda: dom0.pid() is not None)
    host.set_clock(now=time.time())
    say(f"  {dom0.seat.name}: `xl info` answered after {time.monotonic() - begun:.1f} s")
    if is_new and not (_kept_boot(dom0.paths, identity) / "complete").exists():
        _keep_boot(dom0, identity, say=say)
    return host


def _keep_boot(dom0: Dom0, identity: str, *, say: Say) -> None:
    """Keep the state right after the first boot for later first boots."""
    begun = time.monotonic()
    boot = _kept_boot(dom0.paths, identity)
    shutil.rmtree(boot, ignore_errors=True)
    boot.mkdir(parents=True)
    dom0.host().run(["sync"], timeout_seconds=60, check=True)
    dom0.host().forget_connection()
    with Qmp(dom0.folder / "qmp", timeout_seconds=60) as qmp:
        qmp.save_to(boot / "state.zst")
        for name in ("root.qcow2", "data.raw"):
            _copy(dom0.folder / name, boot / name)
        qmp.ask("cont")
    (boot / "complete").touch()
    dom0.host().wait_until_ready(timeout_seconds=RESUME_SECONDS)
    say(f"  {dom0.seat.name}: kept that state for later starts, {time.monotonic() - begun:.1f} s")


def _resume(dom0: Dom0, image: Image, identity: str, *, accel: str, say: Say, how: str) -> LabHost:
    begun = time.monotonic()
    say(f"  {dom0.seat.name}: {how} …")
    used = dom0.folder / "state.used"
    # Renamed before anything can write to the disks, so that this state is never loaded twice.
    dom0.state.rename(used)
    try:
        incoming = ["-incoming", f"exec:zstd -dcq '{used}'"]
        _launch(dom0, image, identity, accel=accel, extra=incoming)
        with Qmp(dom0.folder / "qmp") as qmp:
            # A "cont" sent while the state is still loading is lost.
            qmp.wait_for_status("paused", timeout_seconds=60)
            qmp.ask("cont")
        host = dom0.host()
        host.wait_until_ready(timeout_seconds=RESUME_SECONDS, is_alive=lambda: dom0.pid() is not None)
    finally:
        used.unlink(missing_ok=True)
    host.set_clock(now=time.time())
    say(f"  {dom0.seat.name}: `xl info` answered after {time.monotonic() - begun:.1f} s")
    return host


def pause(dom0: Dom0, *, say: Say) -> None:
    """Save the running dom0 and end QEMU. The next start resumes it. Raises LabError."""
    if dom0.pid() is None:
        return
    begun = time.monotonic()
    dom0.host().forget_connection()
    part = dom0.folder / "state.part"
    with Qmp(dom0.folder / "qmp", timeout_seconds=60) as qmp:
        qmp.save_to(part)
        record = dom0.read()
        part.rename(dom0.state)
        qmp.ask("quit")
    _wait_for_end(dom0, timeout_seconds=30)
    record.saved = True
    dom0.write(record)
    say(f"  {dom0.seat.name}: paused, its machines with it, {time.monotonic() - begun:.1f} s")


def end(dom0: Dom0) -> None:
    """Kill QEMU, as a power cut would. Raises LabError if it does not end."""
    pid = dom0.pid()
    if pid is not None:
        os.kill(pid, signal.SIGKILL)
        _wait_for_end(dom0, timeout_seconds=20)


def _wait_for_end(dom0: Dom0, *, timeout_seconds: float) -> None:
    deadline = time.monotonic() + timeout_seconds
    while dom0.pid() is not None:
        if time.monotonic() > deadline:
            raise LabError(f"QEMU of {dom0.seat.name} does not end.")
        time.sleep(0.05)

"""QEMU's command line for a dom0, and a check whether KVM can run Xen here."""

import hashlib
import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from devtools.lab.image import Image
from devtools.lab.paths import LabPaths
from worker import shell

MEMORY_MIB = int(os.environ.get("WEBXEN_LAB_MEMORY_MIB", "2048"))
#: process 1 of the dom0: the lab's own short script, or Debian's init
INIT = "systemd" if os.environ.get("WEBXEN_LAB_INIT") == "systemd" else "script"
DOM0_MEMORY_MIB = 640
DATA_GIB = 8
SHARED_GIB = 16
TRANSFER_GIB = 4
#: Features that software emulation must not show to Xen; each was seen to fail: smap: dom0 dies at its first
#: iretq (QEMU 7.2); xsave: PVH guests die in fpu__init_system_xstate; rdtscp: "SVM Insn len emulation
#: failed".
EMULATED_CPU = "max,-smap,-xsave,-rdtscp"
KVM_TRIAL_SECONDS = 25


@dataclass(frozen=True)
class Seat:
    """The name and addresses of one dom0 of the lab."""

    name: str

    @property
    def number(self) -> int:
        return int(self.name.removeprefix("xen"))

    @property
    def lan_address(self) -> str:
        return f"10.99.0.{self.number}/24"

    def mac(self, net: int) -> str:
        return f"52:54:00:{net:02x}:00:{self.number:02x}"


def xen_command_line() -> str:
    memory = f"{DOM0_MEMORY_MIB}M"
    return (
        f"console=com1 com1=115200,8n1 dom0_mem={memory},max:{memory} loglvl=all guest_loglvl=all "
        # scrubbing 2 GiB takes seconds under emulation and makes saved states large
        "console_timestamps=boot noreboot bootscrub=false"
    )


def _cpu(seat: Seat, accel: str) -> str:
    """The -cpu option. WEBXEN_LAB_XEN2_LACKS=adx,bmi2 removes these features from xen2's processor."""
    lacks = os.environ.get("WEBXEN_LAB_XEN2_LACKS", "").split(",") if seat.number == 2 else []
    return ",".join(["host" if accel == "kvm" else EMULATED_CPU, *(f"-{name}" for name in lacks if name)])


def machine_arguments(image: Image, seat: Seat, *, accel: str) -> list[str]:
    """The arguments that must be the same when a saved machine is resumed."""
    cpu = _cpu(seat, accel)
    linux = f"{image.kernel} console=hvc0 net.ifnames=0 lab.name={seat.name} lab.lan={seat.lan_address}"
    if INIT == "systemd":
        linux += f" lab.init=systemd systemd.hostname={seat.name}"
    accelerator = "kvm" if accel == "kvm" else "tcg,thread=multi"
    # one CPU: two emulated ones wait for each other whenever this machine's own are busy
    return [
        *["-name", seat.name, "-machine", "pc", "-accel", accelerator, "-cpu", cpu],
        *["-smp", "1", "-m", str(MEMORY_MIB), "-nodefaults", "-nographic", "-no-reboot"],
        # QEMU splits -initrd at commas, so the kernel's command line must have none
        *["-kernel", str(image.xen), "-append", xen_command_line()],
        *["-initrd", f"{linux},{image.initrd}"],
    ]


def disk_arguments(paths: LabPaths, seat: Seat) -> list[str]:
    folder = paths.host(seat.name)
    # cache=unsafe on a raw file: writes reach the host's page cache at once, so a killed QEMU loses nothing;
    # only a power cut of this machine would. The qcow2 root is discarded after a kill.
    return [
        *["-drive", f"file={folder}/root.qcow2,format=qcow2,if=none,id=d0,cache=unsafe"],
        *["-device", "virtio-blk-pci,drive=d0"],
        *["-drive", f"file={folder}/data.raw,format=raw,if=none,id=d1,cache=unsafe,discard=unmap"],
        *["-device", "virtio-blk-pci,drive=d1"],
        *["-drive", f"file={paths.shared_disk},format=raw,if=none,id=d2,file.locking=off,cache=none"],
        *["-device", "virtio-blk-pci,drive=d2,share-rw=on,serial=shared"],
        *["-drive", f"file={folder}/transfer.raw,format=raw,if=none,id=d3,file.locking=off,readonly=on"],
        *["-device", "virtio-blk-pci,drive=d3,serial=transfer"],
    ]


def net_arguments(paths: LabPaths, seat: Seat, *, ssh_port: int) -> list[str]:
    server = "on" if seat.number == 1 else "off"
    lan = f"stream,id=n1,server={server},addr.type=unix,addr.path={paths.lan_socket}"
    return [
        *["-netdev", f"user,id=n0,hostfwd=tcp:127.0.0.1:{ssh_port}-:22"],
        *["-device", f"virtio-net-pci,netdev=n0,mac={seat.mac(0x12)},romfile="],
        *["-netdev", lan],
        *["-device", f"virtio-net-pci,netdev=n1,mac={seat.mac(0x99)},romfile="],
        *["-device", "virtio-rng-pci"],
    ]


def control_arguments(paths: LabPaths, seat: Seat) -> list[str]:
    folder = paths.host(seat.name)
    serial = f"socket,id=c0,path={folder}/serial,server=on,wait=off,logfile={folder}/serial.log"
    return [
        *["-chardev", serial, "-serial", "chardev:c0"],
        *["-qmp", f"unix:{folder}/qmp,server=on,wait=off", "-pidfile", f"{folder}/pid"],
    ]


def identity(image: Image, seat: Seat, *, accel: str) -> str:
    """A hash that is equal for two starts if a state saved in one can be loaded in the other."""
    version = shell.run(["qemu-system-x86_64", "--version"], timeout_seconds=20, check=True).text
    # every device matters, and all of them are in this file
    parts = [version.splitlines()[0], image.key, Path(__file__).read_text(), seat.name, accel]
    parts += [str(MEMORY_MIB), INIT, _cpu(seat, accel)]
    if accel == "kvm":
        parts.append(_this_machine())
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _this_machine() -> str:
    machine_id = Path("/etc/machine-id")
    ident = machine_id.read_text().strip() if machine_id.exists() else platform.node()
    return f"{ident} {platform.release()}"


def choose_accel(paths: LabPaths, image: Image, *, say: Callable[[str], None]) -> str:
    """Return "kvm" if Xen was seen to start its dom0 under it, else "tcg"; cached per machine.

    That /dev/kvm can be opened proves nothing: where KVM is itself emulated, Xen dies in its first second.
    """
    wanted = os.environ.get("WEBXEN_LAB_ACCEL", "")
    if wanted in ("kvm", "tcg"):
        return wanted
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
    known = json.loads(paths.accel.read_text()) if paths.accel.exists() else {}
    if _this_machine() not in known:
        say("  trying Xen under KVM …")
        begun = time.monotonic()
        known[_this_machine()] = "kvm" if _boots_under_kvm(paths, image) else "tcg"
        chosen = "KVM works" if known[_this_machine()] == "kvm" else "Xen dies in it, so software emulation"
        say(f"  trying Xen under KVM: {chosen}, {time.monotonic() - begun:.1f} s")
        paths.accel.write_text(json.dumps(known))
    return str(known[_this_machine()])


def _boots_under_kvm(paths: LabPaths, image: Image) -> bool:
    """Boot Xen without disks. Returns whether the dom0 kernel printed its first lines."""
    log = paths.root / "kvm-trial.log"
    serial = paths.root / "kvm-trial.serial"
    serial.unlink(missing_ok=True)
    argv = machine_arguments(image, Seat("xen1"), accel="kvm")
    process = shell.spawn(
        ["qemu-system-x86_64", *argv, "-serial", f"file:{serial}", "-monitor", "none"], log_path=log
    )
    deadline = time.monotonic() + KVM_TRIAL_SECONDS
    try:
        while time.monotonic() < deadline and process.poll() is None:
            said = serial.read_bytes() if serial.exists() else b""
            if b"Xen version" in said and b"Linux version" in said:
                return True
            if b"KVM internal error" in log.read_bytes():
                return False
            time.sleep(0.2)
        return False
    finally:
        process.kill()
        process.wait(10)

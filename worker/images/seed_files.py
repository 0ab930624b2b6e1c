"""The FILES seed: writes a machine's name, keys, password and network into a new copy of a template.

Plans the files (pure), and writes them with debugfs into an ext4 file system that no guest has booted yet,
without mounting it. The NOCLOUD seed is in `seed_iso`.
"""

import ipaddress
import os
import re
from dataclasses import dataclass
from pathlib import Path

from worker import shell, workspaces
from worker.contract import MachineSpec, NicSpec, SeedSpec
from worker.errors import DeadlinePassed, SeedFailed

#: largest file of the image that is read before anything is written
MAX_FILE_BYTES = 1 << 20
#: prefix of the temporary folders that hold a machine's files, /etc/shadow among them
WORKSPACE = "webxen-seed-"
PROBED_FILES = ("/etc/shadow", "/etc/fstab", "/etc/network/interfaces", "/etc/inittab", "/etc/securetty")
PROBED_DIRECTORIES = (
    *("/etc", "/root", "/root/.ssh", "/etc/webxen", "/etc/systemd/network"),
    *("/etc/sysconfig/network-scripts", "/etc/net/ifaces", "/etc/net/ifaces/eth0"),
)
GETTIES = ("/sbin/getty", "/sbin/agetty", "/sbin/mingetty")
PROBED_OTHERS = (
    *GETTIES,
    *("/etc/hostname", "/etc/hosts", "/etc/sysconfig/network-scripts/ifcfg-eth0"),
    *(f"/etc/net/ifaces/eth0/{name}" for name in ("options", "ipv4address", "ipv4route")),
    "/etc/resolv.conf",
    "/root/.ssh/authorized_keys",
    "/etc/webxen/seed.env",
    "/etc/systemd/network/10-webxen.network",
)


@dataclass(frozen=True)
class SeedFile:
    path: str
    content: str
    mode: int = 0o644
    #: keep the owner and mode of an existing file, e.g. root:shadow 0640
    is_like_before: bool = False


@dataclass(frozen=True)
class Found:
    """The parts of a file system that a seed depends on."""

    texts: dict[str, str]
    #: path -> (permissions, uid, gid)
    present: dict[str, tuple[int, int, int]]


# --- which files (pure) ------------------------------------------------------------------------


def plan(
    seed: SeedSpec, machine: MachineSpec, found: Found, *, root_device: str = ""
) -> tuple[SeedFile, ...]:
    """The files to write. `root_device` is the root device for /etc/fstab; "" to leave fstab as it is."""
    nic = machine.nics[0] if machine.nics else None
    files = [
        SeedFile("/etc/hostname", f"{seed.hostname}\n"),
        SeedFile("/etc/hosts", hosts_text(seed.hostname, nic)),
        SeedFile("/etc/webxen/seed.env", seed_env_text(seed.hostname, nic)),
    ]
    if seed.ssh_keys:
        keys = "".join(f"{key}\n" for key in seed.ssh_keys)
        files.append(SeedFile("/root/.ssh/authorized_keys", keys, 0o600))
    if seed.password_hash:
        shadow = shadow_with(found.texts.get("/etc/shadow", ""), seed.password_hash)
        files.append(SeedFile("/etc/shadow", shadow, 0o600, is_like_before=True))
    if nic is not None and nic.ipv4:
        files.extend(_network_files(nic, found))
    if root_device:
        files.append(SeedFile("/etc/fstab", fstab_with(found.texts.get("/etc/fstab", ""), root_device)))
        files.extend(_console_files(found))
    return tuple(files)


def _console_files(found: Found) -> list[SeedFile]:
    """Files for a login on hvc0 in a container's root. systemd starts one by itself, other init systems do
    not.
    """
    files = []
    inittab = found.texts.get("/etc/inittab", "")
    getty = next((path for path in GETTIES if path in found.present), "")
    if inittab and getty and not re.search(r"^[^#\n]*\bhvc0\b", inittab, re.MULTILINE):
        files.append(SeedFile("/etc/inittab", inittab_with(inittab, getty), is_like_before=True))
    securetty = found.texts.get("/etc/securetty", "")
    if securetty and "hvc0" not in securetty.split():
        files.append(SeedFile("/etc/securetty", f"{securetty.rstrip()}\nhvc0\n", is_like_before=True))
    return files


def _network_files(nic: NicSpec, found: Found) -> list[SeedFile]:
    files = []
    if nic.nameserver:
        files.append(SeedFile("/etc/resolv.conf", f"nameserver {nic.nameserver}\n"))
    if "/etc/network/interfaces" in found.texts:
        files.append(SeedFile("/etc/network/interfaces", interfaces_text(nic)))
    if "/etc/systemd/network" in found.present:
        files.append(SeedFile("/etc/systemd/network/10-webxen.network", networkd_text(nic)))
    if "/etc/sysconfig/network-scripts" in found.present:
        files.append(SeedFile("/etc/sysconfig/network-scripts/ifcfg-eth0", ifcfg_text(nic)))
    if "/etc/net/ifaces" in found.present:
        texts = etcnet_texts(nic).items()
        files.extend(SeedFile(f"/etc/net/ifaces/eth0/{name}", text) for name, text in texts)
    return files


def hosts_text(hostname: str, nic: NicSpec | None) -> str:
    own = nic.ipv4 if nic is not None and nic.ipv4 else "127.0.1.1"
    return f"127.0.0.1\tlocalhost\n{own}\t{hostname}\n::1\tlocalhost ip6-localhost ip6-loopback\n"


def seed_env_text(hostname: str, nic: NicSpec | None) -> str:
    """For minimal guests: lines that a shell can source. All values were checked to be plain."""
    values = {"HOSTNAME": hostname}
    if nic is not None and nic.ipv4:
        values.update(IPV4=nic.ipv4, PREFIX=str(nic.prefix), GATEWAY=nic.gateway, NAMESERVER=nic.nameserver)
    return "".join(f"{key}={value}\n" for key, value in values.items())


def interfaces_text(nic: NicSpec) -> str:
    lines = [
        "auto lo",
        "iface lo inet loopback",
        "",
        "auto eth0",
        "iface eth0 inet static",
        f"    address {nic.ipv4}/{nic.prefix}",
    ]
    if nic.gateway:
        lines.append(f"    gateway {nic.gateway}")
    return "\n".join(lines) + "\n"


def ifcfg_text(nic: NicSpec) -> str:
    """ifcfg-eth0 of Red Hat's network scripts."""
    lines = ["DEVICE=eth0", "ONBOOT=yes", "BOOTPROTO=none", f"IPADDR={nic.ipv4}", f"PREFIX={nic.prefix}"]
    lines += [f"NETMASK={ipaddress.IPv4Network((0, nic.prefix)).netmask}"]
    lines += [f"GATEWAY={nic.gateway}"] if nic.gateway else []
    return "\n".join(lines) + "\n"


def etcnet_texts(nic: NicSpec) -> dict[str, str]:
    """The files of ALT Linux's etcnet, by name."""
    texts = {
        "options": "TYPE=eth\nBOOTPROTO=static\nONBOOT=yes\n",
        "ipv4address": f"{nic.ipv4}/{nic.prefix}\n",
    }
    return {**texts, "ipv4route": f"default via {nic.gateway}\n"} if nic.gateway else texts


def inittab_with(inittab: str, getty: str) -> str:
    """The inittab with a login on hvc0. A line with run levels is System V's format; busybox has none."""
    is_system_v = bool(re.search(r"^[^#:\n]*:[0-9Ss]+:", inittab, re.MULTILINE))
    command = f"{getty} hvc0" if getty.endswith("mingetty") else f"{getty} 38400 hvc0"
    line = f"h0:2345:respawn:{command}" if is_system_v else f"hvc0::respawn:{command}"
    return f"{inittab.rstrip()}\n{line}\n"


def networkd_text(nic: NicSpec) -> str:
    # By MAC address, because the interface is called eth0, enX0 or ens… depending on the guest.
    lines = ["[Match]", f"MACAddress={nic.mac}", "", "[Network]", f"Address={nic.ipv4}/{nic.prefix}"]
    if nic.gateway:
        lines.append(f"Gateway={nic.gateway}")
    if nic.nameserver:
        lines.append(f"DNS={nic.nameserver}")
    return "\n".join(lines) + "\n"


def shadow_with(shadow: str, password_hash: str) -> str:
    """The shadow file with root's password; a line for root is added if there is none."""
    lines = shadow.splitlines()
    for index, line in enumerate(lines):
        fields = line.split(":")
        if fields[0] == "root" and len(fields) >= 2:
            fields[1] = password_hash
            lines[index] = ":".join(fields)
            return "\n".join(lines) + "\n"
    return "\n".join([f"root:{password_hash}:19000:0:99999:7:::", *lines]) + "\n"


def fstab_with(fstab: str, root_device: str) -> str:
    """The fstab with exactly one root line, which names the machine's root device."""
    kept = [line for line in fstab.splitlines() if not re.match(r"\s*[^#\s]\S*\s+/\s", line)]
    # Devices in a container's fstab do not exist in a machine and would stop the boot.
    kept = [line for line in kept if not re.match(r"\s*(/dev/(simfs|ploop\S*)|simfs)\s", line)]
    return "\n".join([f"{root_device} / ext4 defaults,errors=remount-ro 0 1", *kept]) + "\n"


# --- into the file system ----------------------------------------------------------------------


def write(
    disk: Path, seed: SeedSpec, machine: MachineSpec, *, root_device: str, timeout_seconds: float
) -> None:
    """Write the seed into a new file system. Raises SeedFailed, DeadlinePassed."""
    with workspaces.made(WORKSPACE) as workspace:
        found = look(disk, workspace, timeout_seconds=timeout_seconds)
        if "/etc" not in found.present:
            raise SeedFailed("NO_ETC")
        files = plan(seed, machine, found, root_device=root_device)
        script = script_for(files, found, workspace)
        printed = _debugfs(disk, script, workspace, timeout_seconds=timeout_seconds, is_writing=True)
    complaints = _complaints(printed)
    if complaints:
        raise SeedFailed("SEED_NOT_WRITTEN", error=complaints[0])


def look(disk: Path, workspace: Path, *, timeout_seconds: float) -> Found:
    """What exists, and the content of the small files to be changed. Raises SeedFailed for a large one."""
    names = (*PROBED_DIRECTORIES, *PROBED_FILES, *PROBED_OTHERS)
    lines = [f"stat {name}" for name in names]
    printed = _debugfs(disk, lines, workspace, timeout_seconds=timeout_seconds).text
    present, sizes = parse_stats(printed), parse_sizes(printed)
    wanted = [name for name in PROBED_FILES if name in sizes]
    for name in wanted:
        # a sparse file costs the image nothing, but this host as much as its size
        if sizes[name] > MAX_FILE_BYTES:
            raise SeedFailed(
                "IMAGE_FILE_TOO_LARGE", file=name, size_kib=sizes[name] >> 10, limit_kib=MAX_FILE_BYTES >> 10
            )
    lines = [f"dump {name} {_copy_of(workspace, name)}" for name in wanted]
    if wanted:
        _debugfs(disk, lines, workspace, timeout_seconds=timeout_seconds)
    texts = {
        name: _copy_of(workspace, name).read_text(errors="surrogateescape")
        for name in wanted
        if _copy_of(workspace, name).exists()
    }
    return Found(texts, present)


def parse_sizes(text: str) -> dict[str, int]:
    """Parse debugfs's output of `stat`: size in bytes of each regular file."""
    sizes = {}
    for block in re.split(r"^debugfs: +", text, flags=re.MULTILINE):
        head, _, body = block.partition("\n")
        is_file = re.search(r"^Inode: \d+ +Type: regular ", body, re.MULTILINE)
        size = re.search(r"^User: .* Size: +(\d+)$", body, re.MULTILINE)
        if head.startswith("stat ") and is_file and size:
            sizes[head.removeprefix("stat ").strip()] = int(size[1])
    return sizes


def parse_stats(text: str) -> dict[str, tuple[int, int, int]]:
    """Parse debugfs's output of `stat`: permissions, uid and gid of each existing path."""
    present = {}
    for block in re.split(r"^debugfs: +", text, flags=re.MULTILINE):
        head, _, body = block.partition("\n")
        mode = re.search(r"^Inode: \d+ .*Mode: +(\d+)", body, re.MULTILINE)
        owner = re.search(r"^User: +(\d+) +Group: +(\d+)", body, re.MULTILINE)
        if head.startswith("stat ") and mode and owner:
            name = head.removeprefix("stat ").strip()
            present[name] = (int(mode[1], 8) & 0o7777, int(owner[1]), int(owner[2]))
    return present


def script_for(files: tuple[SeedFile, ...], found: Found, workspace: Path) -> list[str]:
    """The debugfs commands that make the files. Writes their sources to the workspace."""
    lines = []
    directories = (("/root", 0o40700), ("/root/.ssh", 0o40700), ("/etc/webxen", 0o40755))
    for directory, mode in (*directories, ("/etc/net/ifaces/eth0", 0o40755)):
        is_needed = any(file.path.startswith(f"{directory}/") for file in files)
        if is_needed and directory not in found.present:
            lines += [f"mkdir {directory}", f"sif {directory} mode 0{mode:o}"]
    for index, file in enumerate(files):
        source = workspace / f"new-{index}"
        source.write_text(file.content, errors="surrogateescape")
        if file.path in found.present:
            lines.append(f"rm {file.path}")
        mode, uid, gid = (file.mode, 0, 0)
        if file.is_like_before:
            mode, uid, gid = found.present.get(file.path, (mode, uid, gid))
        lines += [
            f"write {source} {file.path}",
            f"sif {file.path} mode 010{mode:04o}",
            f"sif {file.path} uid {uid}",
            f"sif {file.path} gid {gid}",
        ]
    return lines


def _copy_of(workspace: Path, name: str) -> Path:
    return workspace / f"old{name.replace('/', '-')}"


def _debugfs(
    disk: Path, lines: list[str], workspace: Path, *, timeout_seconds: float, is_writing: bool = False
) -> shell.Result:
    script = workspace / "script"
    script.write_text("".join(f"{line}\n" for line in lines))
    argv = ["debugfs", *(["-w"] if is_writing else []), "-f", str(script), str(disk)]
    # when writing, the largest file is the disk itself, if it is a file
    with disk.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
    limits = shell.Limits(file_bytes=size if is_writing else MAX_FILE_BYTES)
    try:
        result = shell.run_confined(argv, timeout_seconds=timeout_seconds, limits=limits)
    except shell.LimitReached as error:
        raise SeedFailed("IMAGE_FILE_SYSTEM_BROKEN", error=error) from error
    except shell.CommandTimedOut as error:
        raise DeadlinePassed("SEED_TOO_SLOW") from error
    except FileNotFoundError as error:
        raise SeedFailed("PROGRAM_MISSING", program=error.filename) from error
    if result.rc != 0:
        words = " ".join(result.error_text.split())[-200:]
        raise SeedFailed("NO_FILE_SYSTEM", error=words)
    return result


def _complaints(result: shell.Result) -> list[str]:
    # debugfs always ends with 0; it reports errors only on standard error, below its version
    lines = [line.strip() for line in result.error_text.splitlines()]
    return [line for line in lines if line and not re.match(r"debugfs \d+\.\d+", line)]

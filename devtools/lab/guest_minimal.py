"""The minimal guest image: busybox, with a login prompt within seconds; also as an
OpenVZ-style root tarball.
"""

import io
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from devtools.lab import needs, packages
from worker import shell

_FILES = Path(__file__).resolve().parent / "guest"
SIZE_MIB = 24
_SHADOW = "root:!:19000:0:99999:7:::\n"


@dataclass(frozen=True)
class Recipe:
    """A built file and its description for the portal."""

    slug: str
    name: str
    description: str
    path: Path
    format: str
    min_disk_mib: int
    min_memory_mib: int
    root: str = "/dev/xvda ro"
    vdev: str = "xvda"


def busybox(apt: packages.PrivateApt, folder: Path) -> Path:
    """Debian's static busybox, downloaded once."""
    unpacked = folder / "busybox"
    program = unpacked / "usr/bin/busybox"
    if not program.exists():
        (package,) = apt.fetch(["busybox-static"], into=folder / "debs-busybox")
        packages.unpack(package, into=unpacked)
    return program


def build(apt: packages.PrivateApt, folder: Path, say: Callable[[str], None]) -> Recipe:
    say("  … minimal guest")
    tar = folder / "minimal.tar"
    _write_tar(tar, busybox(apt, folder), fstab="/dev/xvda / ext4 defaults 0 1\n")
    out = folder / "minimal-1.ext4"
    make_file_system(tar, out, size_mib=SIZE_MIB, label="minimal")
    tar.unlink()
    return Recipe(
        slug="minimal",
        name="Minimal",
        description="Busybox on Linux 6.12: a login prompt in seconds, for trying things out",
        path=out,
        format="FILESYSTEM",
        min_disk_mib=SIZE_MIB,
        min_memory_mib=128,
    )


def build_tarball(apt: packages.PrivateApt, folder: Path, say: Callable[[str], None]) -> Recipe:
    """A root tarball like an OpenVZ template: no kernel, an fstab that names /dev/hda1."""
    say("  … root tarball")
    out = folder / "tarball-1.tar.gz"
    _write_tar(out, busybox(apt, folder), fstab="/dev/hda1 / ext3 defaults 0 1\n")
    return Recipe(
        slug="tarball",
        name="Root tarball",
        description="An OpenVZ-style template: the kernel comes from the dom0",
        path=out,
        format="TARBALL",
        min_disk_mib=64,
        min_memory_mib=256,
        root="/dev/xvda1 ro",
        vdev="xvda1",
    )


def build_empty(folder: Path) -> Recipe:
    """A file system with only the folders that the seed needs, for the stand-in xl."""
    out, tar = folder / "minimal-1.ext4", folder / "minimal.tar"
    if not out.exists():
        _write_tar(tar, None, fstab="/dev/xvda / ext4 defaults 0 1\n")
        make_file_system(tar, out, size_mib=4, label="minimal")
        tar.unlink()
    return Recipe("minimal", "Minimal", "For trying things out", out, "FILESYSTEM", 4, 128)


def make_file_system(tar: Path, out: Path, *, size_mib: int, label: str) -> None:
    """Make an ext4 image of a tar's content, with the tar's owners and modes, without root. Raises
    CommandFailed.

    A user namespace lets tar set the owners; nothing is mounted.
    """
    part = out.with_name(f"{out.name}.part")
    part.unlink(missing_ok=True)
    mke2fs = needs.find_program("mke2fs") or "mke2fs"
    script = (
        'set -e; t=$(mktemp -d); trap "rm -rf $t" EXIT; tar -C "$t" -xpf "$1"; truncate -s "$2" "$3";'
        ' "$4" -q -F -t ext4 -O ^has_journal,^metadata_csum,^64bit -E root_owner=0:0 -L "$5" -d "$t" "$3"'
    )
    words = [str(tar), f"{size_mib}M", str(part), mke2fs, label]
    argv = ["unshare", "--map-root-user", "sh", "-c", script, "sh", *words]
    shell.run(argv, timeout_seconds=300, check=True)
    part.replace(out)  # atomically, because the process may be killed


def _write_tar(out: Path, program: Path | None, *, fstab: str) -> None:
    mode = "w:gz" if out.name.endswith(".gz") else "w"
    with tarfile.open(out, mode) as tar:  # type: ignore[call-overload]
        for name in [
            "bin",
            "sbin",
            "etc",
            "etc/webxen",
            "dev",
            "proc",
            "sys",
            "root",
            "tmp",
            "run",
            "var",
            "var/run",
            "var/log",
            "mnt",
            "usr",
            "usr/bin",
            "usr/sbin",
        ]:
            _add(tar, name, kind=tarfile.DIRTYPE, mode=0o700 if name == "root" else 0o755)
        if program is not None:
            _add_busybox(tar, program)
        for name, text in _etc(fstab).items():
            _add(tar, f"etc/{name}", data=text.encode(), mode=0o600 if name == "shadow" else 0o644)
        _add(tar, "etc/rc", data=(_FILES / "minimal-rc").read_bytes(), mode=0o755)


def _etc(fstab: str) -> dict[str, str]:
    return {
        "passwd": "root:x:0:0:root:/root:/bin/sh\n",
        "group": "root:x:0:\n",
        "shadow": _SHADOW,
        "securetty": "hvc0\ntty1\n",
        "hostname": "minimal\n",
        "hosts": "127.0.0.1 localhost\n",
        "fstab": fstab,
        "profile": "export PS1='\\u@\\h:\\w# '\n",
        "inittab": (_FILES / "inittab").read_text(),
    }


def _add_busybox(tar: tarfile.TarFile, program: Path) -> None:
    _add(tar, "bin/busybox", data=program.read_bytes(), mode=0o755)
    listed = shell.run([str(program), "--list-full"], timeout_seconds=10, check=True).text.split()
    for name in listed:
        if name.startswith(("bin/", "sbin/", "usr/bin/", "usr/sbin/")) and name != "bin/busybox":
            _add(tar, name, kind=tarfile.SYMTYPE, link="/bin/busybox", mode=0o777)


def _add(
    tar: tarfile.TarFile,
    name: str,
    *,
    data: bytes = b"",
    kind: bytes = tarfile.REGTYPE,
    link: str = "",
    mode: int = 0o644,
) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.linkname, entry.size = kind, mode, link, len(data)
    tar.addfile(entry, io.BytesIO(data))

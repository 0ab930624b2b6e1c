"""The dom0's disk image: Debian, Xen, the lab's init and the worker's libraries.

It is built in stages, each cached by a hash of its recipe. The worker itself is copied into the running dom0
instead, so that a change of it rebuilds nothing.
"""

import gzip
import hashlib
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from devtools.lab import kernel, needs, services
from devtools.lab.packages import PrivateApt, unpack
from devtools.lab.paths import LabPaths
from worker import shell

Say = Callable[[str], None]

FILES = Path(__file__).parent / "dom0"
XEN = "4.20"
PYTHON = "3.13"
INCLUDE = f"""
 systemd systemd-sysv udev kmod openssh-server lvm2 thin-provisioning-tools e2fsprogs libarchive13t64
 iproute2 bridge-utils iptables nftables net-tools python3 socat procps iputils-ping xen-utils-{XEN}
 xen-utils-common xenstore-utils nbd-client nfs-common nfs-kernel-server qemu-utils rsync xz-utils zstd
""".split()
LIBRARIES = [
    "celery[redis]==5.7.0",
    "kombu==5.7.0",
    "redis==8.1.0",
    "cryptography==50.0.2",
    "websockets==17.4",
    "pycdlib==1.22.0",
    "PyYAML==6.0.3",
    "libpass==1.9.4",
    "pyroute2==0.9.7",
    "structlog==26.1.0",
    "prometheus-client==0.26.0",
]
#: size of the root file system; the file is sparse
ROOT_SIZE = "3G"
_EXCLUDED = ("man", "doc", "locale", "info")


@dataclass(frozen=True)
class Image:
    """The files needed for a boot, named by the hash of their recipe."""

    key: str
    xen: Path
    kernel: Path
    initrd: Path
    disk: Path

    def exists(self) -> bool:
        return all(path.exists() for path in (self.xen, self.kernel, self.initrd, self.disk))


@contextmanager
def timed(say: Say, what: str) -> Iterator[None]:
    """Print what is done and how long it took."""
    begun = time.monotonic()
    say(f"  {what} …")
    yield
    say(f"  {what}: {time.monotonic() - begun:.1f} s")


def _hash(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:16]


def _text_of(*files: Path) -> list[str]:
    return [file.read_text() for file in files]


def tree_key() -> str:
    return _hash(INCLUDE, LIBRARIES, PYTHON, XEN, 1)


def image_key(public_key: str) -> str:
    """A hash of everything that changes the image, except the versions on the mirror."""
    here = Path(__file__)
    sources = _text_of(here, here.with_name("kernel.py"), *sorted(FILES.iterdir()))
    return _hash(tree_key(), public_key, sources)


def image_at(folder: Path, key: str) -> Image:
    def name(kind: str) -> Path:
        return folder / f"{kind}-{key}"

    return Image(key, name("xen"), name("vmlinux"), name("initrd"), name("dom0.ext4"))


def ensure_keys(paths: LabPaths) -> None:
    """Make the ssh keys for the dom0s, once per lab."""
    paths.keys.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name in ("id_lab", "id_migrate", "host_key"):
        if not (paths.keys / name).exists():
            argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "webxen-lab", "-f"]
            shell.run([*argv, str(paths.keys / name)], timeout_seconds=30, check=True)


def ensure_image(paths: LabPaths, *, say: Say) -> Image:
    """The image of this recipe, built if there is none. Raises LabError, CommandFailed."""
    ensure_keys(paths)
    key = image_key((paths.keys / "id_lab.pub").read_text())
    image = image_at(paths.images, key)
    if image.exists():
        return image
    needs.require_programs()
    needs.require_root("Building the dom0 image")
    paths.images.mkdir(parents=True, exist_ok=True)
    work = paths.root / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        base = _ensure_base(paths, work, say=say)
        _build(paths, image, base, work, say=say)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    _drop_older(paths, image)
    return image


def _drop_older(paths: LabPaths, image: Image) -> None:
    """Remove images and first boots that cannot be used any more. Disks of machines are kept."""
    keep = {f"base-{tree_key()}"}
    for path in paths.images.iterdir():
        if path.name in keep or path.name.endswith(f"-{image.key}"):
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    shutil.rmtree(paths.boots, ignore_errors=True)


def _ensure_base(paths: LabPaths, work: Path, *, say: Say) -> Path:
    """The folder with the Debian tree as a tar, Xen, the kernel and the libraries, downloaded once."""
    base = paths.images / f"base-{tree_key()}"
    if (base / "complete").exists():
        return base
    shutil.rmtree(base, ignore_errors=True)
    base.mkdir(parents=True)
    apt = PrivateApt(work / "apt")
    with timed(say, "package lists"):
        apt.prepare()
    with timed(say, "hypervisor and kernel packages"):
        _fetch_kernel(apt, base)
    with timed(say, "Python libraries for the worker"):
        _fetch_libraries(base / "lib")
    with timed(say, "Debian tree for the dom0 (mmdebstrap)"):
        _make_tree(apt, base / "dom0.tar")
    (base / "complete").touch()
    return base


def _fetch_kernel(apt: PrivateApt, base: Path) -> None:
    linux = apt.depends_on_kernel("linux-image-amd64")
    names = [linux, f"xen-hypervisor-{XEN}-amd64", "busybox-static"]
    for package in apt.fetch(names, into=base / "debs"):
        unpack(package, into=base / "unpacked")
    shutil.rmtree(base / "debs")


def _fetch_libraries(into: Path) -> None:
    """Download wheels for the dom0's Python, whatever Python runs this."""
    python = Path(sys.executable)
    if shell.run([str(python), "-m", "pip", "--version"], timeout_seconds=60).rc != 0:
        # uv makes environments without pip, so a separate one is made for it
        venv = into.parent / "pip"
        shell.run([str(python), "-m", "venv", "--clear", str(venv)], timeout_seconds=120, check=True)
        python = venv / "bin" / "python"
    argv = [str(python), "-m", "pip", "install", "-q", "--target", str(into), "--python-version", PYTHON]
    argv += ["--platform", "manylinux2014_x86_64", "--platform", "manylinux_2_28_x86_64"]
    argv += ["--only-binary=:all:", *LIBRARIES]
    shell.run(argv, timeout_seconds=600, check=True)
    shutil.rmtree(into.parent / "pip", ignore_errors=True)


def _make_tree(apt: PrivateApt, out: Path) -> None:
    drop = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in _EXCLUDED]
    argv = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(INCLUDE)}"]
    argv += ['--aptopt=APT::Install-Recommends "false"', *drop, "trixie", str(out)]
    shell.run([*argv, str(apt.sources_file)], timeout_seconds=1200, check=True)


def _build(paths: LabPaths, image: Image, base: Path, work: Path, *, say: Say) -> None:
    tree = work / "tree"
    unpacked = base / "unpacked"
    with timed(say, "unpacking the tree"):
        tree.mkdir()
        tar = ["tar", "-C", str(tree), "-xf", str(base / "dom0.tar"), "--exclude=./dev/*"]
        shell.run(tar, timeout_seconds=300, check=True)
    release = next((unpacked / "usr/lib/modules").iterdir()).name
    with timed(say, f"kernel {release} and its modules"):
        kernel.extract_vmlinux(unpacked / f"boot/vmlinuz-{release}", image.kernel)
        kernel.install_modules(unpacked=unpacked, release=release, tree=tree)
        kernel.write_initrd(
            busybox=unpacked / "usr/bin/busybox",
            init=(FILES / "initrd-init").read_bytes(),
            modules=tree / "usr/lib/modules" / release,
            out=image.initrd,
        )
        image.xen.write_bytes(gzip.decompress((unpacked / f"boot/xen-{XEN}-amd64.gz").read_bytes()))
    with timed(say, "configuring the dom0"):
        shutil.copytree(base / "lib", tree / "opt/webxen/lib")
        _configure(paths, tree)
        compileall = ["python3", "-m", "compileall", "-q", "/opt/webxen/lib", f"/usr/lib/python{PYTHON}"]
        shell.run(["chroot", str(tree), *compileall], timeout_seconds=300)
    with timed(say, "writing the disk image"):
        _write_disk(tree, image.disk)


def _write_disk(tree: Path, out: Path) -> None:
    partial = out.with_name(out.name + ".partial")
    partial.unlink(missing_ok=True)
    # no journal: the root is discarded at each cold boot, and only the data disk is kept
    options = ["-O", "^has_journal,^metadata_csum,^64bit", "-E", "lazy_itable_init=1,root_owner=0:0"]
    argv = [
        "mke2fs",
        "-q",
        "-t",
        "ext4",
        *options,
        "-L",
        "dom0root",
        "-d",
        str(tree),
        str(partial),
        ROOT_SIZE,
    ]
    shell.run(argv, timeout_seconds=300, check=True)
    partial.rename(out)


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def _configure(paths: LabPaths, tree: Path) -> None:
    _write(tree / "etc/hosts", "127.0.0.1 localhost\n10.99.0.1 xen1\n10.99.0.2 xen2\n")
    (tree / "etc/resolv.conf").unlink(missing_ok=True)
    _write(tree / "etc/resolv.conf", "nameserver 10.0.2.3\n")
    # the second line is for systemd; the lab's own init mounts the disk itself
    data = "/dev/vdb /var/lib/webxen ext4 noatime,discard,nofail 0 2"
    _write(tree / "etc/fstab", f"/dev/vda / ext4 defaults,noatime 0 0\n{data}\n")
    _write(tree / "etc/machine-id", "5b8d2c6d0c6c4d9c9c60a1a6b1c2d3e4\n")
    for folder in ("var/lib/webxen", "var/lib/xen/dump", "var/log/xen/console", "etc/webxen/services"):
        (tree / folder).mkdir(parents=True, exist_ok=True)
    for name in ("lab-init", "lab-net", "webxen-services"):
        where = "usr/sbin" if name == "lab-init" else "usr/local/sbin"
        _write(tree / where / name, (FILES / name).read_text(), 0o755)
    units = tree / "etc/systemd/system"
    for name in ("lab-net.service", "lab-weight.service"):
        _write(units / name, (FILES / name).read_text())
        (units / "multi-user.target.wants" / name).symlink_to(f"/etc/systemd/system/{name}")
    _add_account(tree, services.LISTENER_USER)
    conf = tree / "etc/xen/xl.conf"
    conf.write_text(conf.read_text() + '\nautoballoon="off"\n')
    _configure_ssh(paths, tree)


def _add_account(tree: Path, name: str) -> None:
    """Add the account of the worker's listener: no password, no shell, no home."""
    lines = [line for file in ("passwd", "group") for line in (tree / "etc" / file).read_text().splitlines()]
    taken = {line.split(":")[2] for line in lines}
    number = next(number for number in range(990, 100, -1) if str(number) not in taken)
    for file, line in (
        ("passwd", f"{name}:x:{number}:{number}:WebXen listener:/nonexistent:/usr/sbin/nologin"),
        ("group", f"{name}:x:{number}:"),
        ("shadow", f"{name}:!*:19000::::::"),
    ):
        with (tree / "etc" / file).open("a") as out:
            out.write(line + "\n")


def _configure_ssh(paths: LabPaths, tree: Path) -> None:
    lab = (paths.keys / "id_lab.pub").read_text()
    migrate = (paths.keys / "id_migrate.pub").read_text()
    gate = f'command="xl migrate-receive",restrict {migrate}'
    (tree / "root/.ssh").mkdir(mode=0o700, exist_ok=True)
    _write(tree / "root/.ssh/authorized_keys", lab + gate, 0o600)
    _write(tree / "root/.ssh/id_migrate", (paths.keys / "id_migrate").read_text(), 0o600)
    _write(
        tree / "root/.ssh/config",
        "Host xen1 xen2 10.99.0.*\n IdentityFile /root/.ssh/id_migrate\n IdentitiesOnly yes\n"
        " StrictHostKeyChecking no\n UserKnownHostsFile /dev/null\n LogLevel ERROR\n",
        0o600,
    )
    for old in (tree / "etc/ssh").glob("ssh_host_*"):
        old.unlink()
    _write(tree / "etc/ssh/ssh_host_ed25519_key", (paths.keys / "host_key").read_text(), 0o600)
    _write(
        tree / "etc/ssh/sshd_config.d/lab.conf",
        "HostKey /etc/ssh/ssh_host_ed25519_key\nUseDNS no\nPermitRootLogin prohibit-password\n"
        "UsePAM no\nMaxSessions 40\n",
    )
    shadow = tree / "etc/shadow"
    lines = shadow.read_text().splitlines()
    # no password on the lab's own serial console, which only the owner of its socket can open
    lines = ["root::" + line.split(":", 2)[2] if line.startswith("root:") else line for line in lines]
    shadow.write_text("\n".join(lines) + "\n")
    shadow.chmod(0o640)

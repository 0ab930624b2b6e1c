"""Guest images of the lab and the demo, made from Debian packages without root.

Lists the images, builds them (cached by the hash of their recipe), and copies them to a host's image store.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from devtools.lab import guest_debian, guest_minimal, kernel, packages
from devtools.lab.host import LabHost
from devtools.lab.paths import data_dir

Say = Callable[[str], None]
KERNEL_PACKAGE = "linux-image-cloud-amd64"
INITRD_MODULES = [
    "crc16",
    "mbcache",
    "crc32c_generic",
    "libcrc32c",
    "jbd2",
    "ext4",
    "xen-blkfront",
    "failover",
    "net_failover",
    "xen-netfront",
]
_RECIPE_FOLDER = Path(__file__).resolve().parent


@dataclass(frozen=True)
class GuestImage:
    """One image as the portal registers it, with its file."""

    slug: str
    name: str
    description: str
    file: str
    sha256: str
    format: str
    kernel: str
    ramdisk: str
    min_disk_mib: int
    min_memory_mib: int
    seed: str = "FILES"
    root: str = "/dev/xvda ro"
    extra: str = "console=hvc0"
    vdev: str = "xvda"
    type: str = "AUTO"

    def as_row(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Kernel:
    """The guests' kernel: an uncompressed vmlinux, its initrd and all its modules."""

    release: str
    vmlinux: Path
    ramdisk: Path
    modules: Path


def images_dir() -> Path:
    return data_dir() / "images"


def build(say: Say, *, is_debian_wanted: bool = True) -> list[GuestImage]:
    """All images, built if they are not cached. Raises LabError and shell.CommandFailed."""
    folder = images_dir() / recipe_hash()
    listing = folder / f"images-{'all' if is_debian_wanted else 'minimal'}.json"
    if listing.exists():
        return [GuestImage(**row) for row in json.loads(listing.read_text())]
    folder.mkdir(parents=True, exist_ok=True)
    apt = packages.PrivateApt(folder / "apt")
    apt.prepare()
    linux = _build_kernel(apt, folder, say)
    found = [guest_minimal.build(apt, folder, say), guest_minimal.build_tarball(apt, folder, say)]
    if is_debian_wanted:
        found.append(guest_debian.build(apt, folder, linux.modules, say))
    rows = [_row(recipe, linux) for recipe in found]
    listing.write_text(json.dumps([row.as_row() for row in rows], indent=1))
    shutil.rmtree(apt.folder / "cache", ignore_errors=True)
    return rows


def recipe_hash() -> str:
    """A hash of everything an image is made from."""
    digest = hashlib.sha256(packages.SUITE.encode())
    names = ("guests.py", "guest_minimal.py", "guest_debian.py", "kernel.py")
    for path in [_RECIPE_FOLDER / name for name in names] + sorted((_RECIPE_FOLDER / "guest").iterdir()):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def stage(images: list[GuestImage], store: Path) -> None:
    """Arrange images and kernels as a new data disk has them."""
    key = recipe_hash() + ("" if len(images) > 2 else "-small")
    if (store / "key").exists() and (store / "key").read_text() == key:
        return
    shutil.rmtree(store, ignore_errors=True)
    for path, remote, digest in _files(images):
        target = store / remote
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(path, target)
        (store / f"{remote}.sha256").write_text(f"{digest}\n")
    (store / "key").write_text(key)


def install(host: LabHost, images: list[GuestImage], say: Say) -> None:
    """Copy images and kernels to a dom0's store; files with the right digest are skipped."""
    # one command for all, because each ssh round trip takes time
    known = host.run(
        "mkdir -p /var/lib/webxen/images /var/lib/webxen/kernels; cd /var/lib/webxen;"
        " head -n 1 images/*.sha256 kernels/*.sha256 /dev/null"
    ).text
    for path, remote, digest in _files(images):
        if f"==> {remote}.sha256 <==\n{digest}\n" not in known:
            say(f"  … {path.name} into {host.name}")
            host.put(path, f"/var/lib/webxen/{remote}")
            name = f"/var/lib/webxen/{remote}.sha256"
            host.put_bytes(f"{digest}\n".encode(), name, mode=0o644)


def _files(images: list[GuestImage]) -> list[tuple[Path, str, str]]:
    """Every file a host needs for these images: its path, its name in the store, its digest."""
    folder = images_dir() / recipe_hash()
    names = sorted({name for image in images for name in (image.kernel, image.ramdisk)})
    kernels = [(folder / name, f"kernels/{name}", _digest(folder / name)) for name in names]
    found = [(folder / image.file, f"images/{image.file}", image.sha256) for image in images]
    return kernels + found


def install_local(state_dir: Path) -> list[GuestImage]:
    """A small image for the stand-in xl, which runs no kernel: an empty file system."""
    images, kernels = state_dir / "images", state_dir / "kernels"
    for folder in (images, kernels):
        folder.mkdir(parents=True, exist_ok=True)
    recipe = guest_minimal.build_empty(images)
    for name in ("vmlinux-demo", "initrd-demo"):
        (kernels / name).touch()
    return [_image(recipe, kernel_name="vmlinux-demo", ramdisk_name="initrd-demo")]


def _row(recipe: "guest_minimal.Recipe", linux: Kernel) -> GuestImage:
    return _image(recipe, kernel_name=linux.vmlinux.name, ramdisk_name=linux.ramdisk.name)


def _image(recipe: "guest_minimal.Recipe", *, kernel_name: str, ramdisk_name: str) -> GuestImage:
    return GuestImage(
        slug=recipe.slug,
        name=recipe.name,
        description=recipe.description,
        file=recipe.path.name,
        sha256=_digest(recipe.path),
        format=recipe.format,
        kernel=kernel_name,
        ramdisk=ramdisk_name,
        min_disk_mib=recipe.min_disk_mib,
        min_memory_mib=recipe.min_memory_mib,
        root=recipe.root,
        vdev=recipe.vdev,
    )


def _build_kernel(apt: packages.PrivateApt, folder: Path, say: Say) -> Kernel:
    say("  … kernel for the guests")
    name = apt.depends_on_kernel(KERNEL_PACKAGE)
    release = name.removeprefix("linux-image-")
    (package,) = apt.fetch([name], into=folder / "debs")
    unpacked = folder / "kernel"
    packages.unpack(package, into=unpacked)
    vmlinux = folder / f"vmlinux-{release}"
    kernel.extract_vmlinux(unpacked / "boot" / f"vmlinuz-{release}", vmlinux)
    modules = unpacked / "usr/lib/modules" / release
    ramdisk = folder / f"initrd-{release}"
    kernel.write_initrd(
        busybox=guest_minimal.busybox(apt, folder),
        init=(_RECIPE_FOLDER / "guest" / "initrd-init").read_bytes(),
        modules=modules,
        names=INITRD_MODULES,
        out=ramdisk,
    )
    return Kernel(release, vmlinux, ramdisk, modules)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

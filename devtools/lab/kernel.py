"""The dom0's kernel as the lab boots it: uncompressed, with few modules and a small initrd.

Decompression inside an emulated machine is slow, so everything is decompressed here.
"""

import gzip
import lzma
import shutil
import struct
from collections.abc import Sequence
from pathlib import Path

from devtools.lab.paths import LabError
from worker import shell

#: names of the modules that the dom0 needs; their dependencies are added from modules.dep
MODULES = Path(__file__).parent / "dom0" / "modules"
INITRD_MODULES = ("crc16", "mbcache", "crc32c_generic", "libcrc32c", "jbd2", "ext4", "virtio_blk")
_ZSTD, _XZ, _GZIP = b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\0", b"\x1f\x8b"


def extract_vmlinux(vmlinuz: Path, out: Path) -> None:
    """Write the ELF kernel inside a bzImage (Linux's x86 boot protocol, 2.08 or later). Raises LabError."""
    image = vmlinuz.read_bytes()
    setup_sectors = image[0x1F1] or 4
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = (setup_sectors + 1) * 512 + offset
    payload = image[start : start + length]
    if payload.startswith(_ZSTD):
        # the last four bytes are the unpacked size, added by the kernel's build
        argv = ["zstd", "-dcq"]
        elf = shell.run(argv, timeout_seconds=120, input_bytes=payload[:-4], check=True).out
    elif payload.startswith(_XZ):
        elf = lzma.LZMADecompressor().decompress(payload)
    elif payload.startswith(_GZIP):
        elf = gzip.decompress(payload)
    else:
        raise LabError(f"{vmlinuz.name} is packed in a way the lab does not know.")
    if not elf.startswith(b"\x7fELF"):
        raise LabError(f"{vmlinuz.name} holds no ELF kernel.")
    out.write_bytes(elf)


def _read_dependencies(text: str) -> dict[str, list[str]]:
    """Parse modules.dep: module name -> its path and those of the modules it depends on."""
    found = {}
    for line in text.splitlines():
        path, _, needs = line.partition(":")
        name = Path(path).name.split(".ko")[0].replace("-", "_")
        found[name] = [path, *needs.split()]
    return found


def choose_modules(dependencies: str, wanted: list[str]) -> list[str]:
    """The module files to keep, each with its dependencies."""
    known = _read_dependencies(dependencies)
    chosen: dict[str, None] = {}
    for name in wanted:
        chosen.update(dict.fromkeys(known.get(name.replace("-", "_"), [])))
    return list(chosen)


def install_modules(*, unpacked: Path, release: str, tree: Path) -> int:
    """Copy the chosen modules, decompressed, into the dom0's tree. Returns their number."""
    source = unpacked / "usr/lib/modules" / release
    # depmod looks below lib/modules; Debian's package has usr/lib only
    if not (unpacked / "lib").exists():
        (unpacked / "lib").symlink_to("usr/lib")
    if not (source / "modules.dep").exists():
        shell.run(["depmod", "-b", str(unpacked), release], timeout_seconds=120, check=True)
    target = tree / "usr/lib/modules" / release
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name in ("modules.builtin", "modules.builtin.modinfo", "modules.order"):
        shutil.copy2(source / name, target / name)
    chosen = choose_modules((source / "modules.dep").read_text(), MODULES.read_text().split())
    for path in chosen:
        out = target / path.removesuffix(".xz")
        out.parent.mkdir(parents=True, exist_ok=True)
        data = (source / path).read_bytes()
        out.write_bytes(lzma.decompress(data) if path.endswith(".xz") else data)
    shell.run(["depmod", "-b", str(tree), release], timeout_seconds=120, check=True)
    return len(chosen)


def _cpio_entry(name: str, mode: int, data: bytes, inode: int) -> bytes:
    """One member of a cpio archive in the "newc" format, which the kernel reads."""
    encoded = name.encode() + b"\0"
    fields = (inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + encoded
    head += b"\0" * (-len(head) % 4)
    return head + data + b"\0" * (-len(data) % 4)


def write_cpio(files: dict[str, tuple[int, bytes]]) -> bytes:
    """An uncompressed initramfs. A name that ends in "/" is a folder."""
    entries = []
    for number, (name, (mode, data)) in enumerate(files.items(), start=1):
        kind = 0o040000 if name.endswith("/") else 0o100000
        entries.append(_cpio_entry(name.rstrip("/"), kind | mode, data, number))
    return b"".join(entries) + _cpio_entry("TRAILER!!!", 0, b"", 0)


def write_initrd(
    *, busybox: Path, init: bytes, modules: Path, out: Path, names: Sequence[str] = INITRD_MODULES
) -> None:
    """Write the initrd, which loads the drivers of the disk and the file system and mounts the root."""
    files: dict[str, tuple[int, bytes]] = {
        f"{name}/": (0o755, b"") for name in ("bin", "dev", "proc", "sys", "mnt", "m")
    }
    files["init"] = (0o755, init)
    files["bin/busybox"] = (0o755, busybox.read_bytes())
    present = []
    for name in names:
        found = next(modules.rglob(f"{name}.ko*"), None)
        if found is not None:
            data = found.read_bytes()
            plain = lzma.decompress(data) if found.suffix == ".xz" else data
            files[f"m/{name}.ko"] = (0o644, plain)
            present.append(name)
    files["m/order"] = (0o644, "".join(f"{name}\n" for name in present).encode())
    out.write_bytes(write_cpio(files))

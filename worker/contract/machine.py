"""The description of a machine in an order."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ImageSpec:
    """A template that the host keeps in its image store."""

    #: name of the file below the host's images directory, e.g. "minimal-1.ext4" or "debian-13.tar.gz"
    file: str
    #: SHA-256 that the file must have, in hexadecimal
    sha256: str
    #: FILESYSTEM: a bare ext4 image; TARBALL: a root tarball; DISK: a partitioned raw disk
    format: Literal["FILESYSTEM", "TARBALL", "DISK"]
    #: FILES: written into the fresh file system before the first boot; NOCLOUD: a seed ISO; NONE
    seed: Literal["FILES", "NOCLOUD", "NONE"] = "FILES"
    #: names below the host's kernels directory; "" if the image boots itself
    kernel: str = ""
    ramdisk: str = ""
    root: str = "/dev/xvda ro"
    extra: str = "console=hvc0"
    #: virtual device of the first disk: xvda, or what an old guest's fstab names, e.g. xvda1, hda1
    vdev: str = "xvda"


@dataclass(frozen=True)
class DiskSpec:
    id: str
    pool: str
    size_mib: int
    vdev: str


@dataclass(frozen=True)
class NicSpec:
    mac: str
    bridge: str
    ipv4: str = ""
    prefix: int = 0
    gateway: str = ""
    nameserver: str = ""


@dataclass(frozen=True)
class SeedSpec:
    hostname: str
    ssh_keys: tuple[str, ...] = ()
    #: crypt(3) hash ($6$…), never the password itself
    password_hash: str = ""
    user_data: str = ""


@dataclass(frozen=True)
class MachineSpec:
    id: str
    #: name of its domain in xl
    domain: str
    vcpus: int
    memory_mib: int
    disks: tuple[DiskSpec, ...]
    nics: tuple[NicSpec, ...]
    image: ImageSpec
    #: AUTO: PVH where the host's virt_caps has hvm and hap, PV otherwise
    type: Literal["AUTO", "PV", "PVH"] = "AUTO"
    #: words in the format of hw_caps in `xl info`: processor features hidden from it when it boots; "": none
    cpu_hidden: str = ""
    #: contract.Receipt as the portal signed it, which the host stores unread; "" from an older portal
    receipt: str = ""

"""A directory over NFS that two dom0s of the lab see: one of them exports it, both have it mounted."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from devtools.lab.host import LabHost

DIRECTORY = "/srv/nas"
OPTIONS = "hard,lookupcache=none"
#: An ext4 of its own in a file: the lab's root is an overlay, which cannot be exported.
SERVE = """
set -e
rm -f /var/lib/webxen/nas.ext4
truncate -s 400M /var/lib/webxen/nas.ext4
mkfs.ext4 -q /var/lib/webxen/nas.ext4
mkdir -p /srv/export /var/lib/nfs/v4recovery
mount -o loop /var/lib/webxen/nas.ext4 /srv/export
modprobe nfsd
mount -t nfsd nfsd /proc/fs/nfsd
exportfs -o rw,sync,no_root_squash,no_subtree_check,fsid=0 10.99.0.0/24:/srv/export
rpc.mountd --no-nfs-version 3
"""
START = "rpc.nfsd --no-nfs-version 3 --grace-time 10 --lease-time 10 4"
STOP = "rpc.nfsd 0"
END = """
pkill -x rpc.mountd
exportfs -au
umount /proc/fs/nfsd
umount /srv/export && rm -f /var/lib/webxen/nas.ext4
"""


def mount(host: LabHost, options: str = OPTIONS) -> None:
    line = f"mkdir -p {DIRECTORY} && mount -t nfs4 -o vers=4.2,{options} 10.99.0.1:/ {DIRECTORY}"
    host.run(line, timeout_seconds=90, check=True)


def unmount(host: LabHost) -> None:
    host.run(["umount", DIRECTORY], timeout_seconds=90, check=True)


@contextmanager
def served(hosts: Sequence[LabHost]) -> Iterator[None]:
    """The first host exports it; every one has it mounted as docs/operating.md says."""
    try:
        hosts[0].run(SERVE + START, timeout_seconds=120, check=True)
        for host in hosts:
            mount(host)
        yield
    finally:
        for host in hosts:
            host.run(f"mountpoint -q {DIRECTORY} && umount {DIRECTORY}", timeout_seconds=90)
        hosts[0].run(f"{STOP}{END}", timeout_seconds=120)


@contextmanager
def away(server: LabHost) -> Iterator[None]:
    """It answers nobody meanwhile."""
    server.run(STOP, timeout_seconds=60, check=True)
    try:
        yield
    finally:
        server.run(START, timeout_seconds=60, check=True)

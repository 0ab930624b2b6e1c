"""A Debian guest image made from Debian packages by mmdebstrap, without root."""

import os
from collections.abc import Callable
from pathlib import Path

from devtools.lab import needs, packages
from devtools.lab.guest_minimal import Recipe
from worker import shell

SIZE_MIB = 600
PACKAGES = [
    "systemd-sysv",
    "udev",
    "kmod",
    "dbus",
    "openssh-server",
    "iproute2",
    "iputils-ping",
    "ca-certificates",
    "procps",
    "less",
    "nano",
    "vim-tiny",
    "curl",
]
#: units that a small guest does not need at boot; each costs seconds under software emulation
MASKED = [
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "dpkg-db-backup.timer",
    "getty@tty1.service",
    "systemd-pstore.service",
    "systemd-update-utmp.service",
    "systemd-hwdb-update.service",
    "systemd-journal-catalog-update.service",
    "ldconfig.service",
    "systemd-networkd-wait-online.service",
    "dev-hugepages.mount",
    "dev-mqueue.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "sys-kernel-config.mount",
    "sys-fs-fuse-connections.mount",
    "modprobe@drm.service",
    "modprobe@configfs.service",
    "modprobe@fuse.service",
    "modprobe@efi_pstore.service",
    "systemd-udev-settle.service",
]
_HOOK = r"""
set -e; r="$1"
printf '/dev/xvda / ext4 defaults,noatime 0 1\n' > "$r/etc/fstab"
echo debian > "$r/etc/hostname"; printf '127.0.0.1 localhost\n' > "$r/etc/hosts"
: > "$r/etc/machine-id"; rm -f "$r/var/lib/dbus/machine-id"
# every machine makes host keys of its own at its first boot
rm -f "$r"/etc/ssh/ssh_host_*
mkdir -p "$r/etc/systemd/system/ssh.service.d" "$r/etc/systemd/network" "$r/root/.ssh" "$r/etc/webxen"
chmod 700 "$r/root/.ssh"
printf '[Service]\nExecStartPre=\nExecStartPre=/usr/bin/ssh-keygen -A\nExecStartPre=/usr/sbin/sshd -t\n' \
  > "$r/etc/systemd/system/ssh.service.d/host-keys.conf"
for unit in $MASKED; do ln -sfn /dev/null "$r/etc/systemd/system/$unit"; done
mkdir -p "$r/etc/systemd/system/getty.target.wants" "$r/etc/systemd/system/multi-user.target.wants"
ln -sfn /usr/lib/systemd/system/serial-getty@.service \
  "$r/etc/systemd/system/getty.target.wants/serial-getty@hvc0.service"
ln -sfn /usr/lib/systemd/system/systemd-networkd.service \
  "$r/etc/systemd/system/multi-user.target.wants/systemd-networkd.service"
ln -sfn /usr/lib/systemd/system/multi-user.target "$r/etc/systemd/system/default.target"
# locked until the seed brings a password or a key
sed -i 's/^root:[^:]*:/root:!:/' "$r/etc/shadow"
mkdir -p "$r/usr/lib/modules"; cp -a "$MODULES" "$r/usr/lib/modules/"
depmod -b "$r" "$(basename "$MODULES")"
rm -rf "$r"/var/cache/apt/*.bin "$r"/var/lib/apt/lists/*
"""
#: run in mmdebstrap's user namespace, where the tar's owners exist
_FILE_SYSTEM = r"""
set -e; t=$(mktemp -d); trap 'rm -rf "$t"' EXIT
tar -C "$t" --numeric-owner -xpf "$1"; truncate -s "$2" "$3"
"$4" -q -F -t ext4 -O ^metadata_csum,^64bit -E root_owner=0:0 -L debian -d "$t" "$3"
"""


def build(apt: packages.PrivateApt, folder: Path, modules: Path, say: Callable[[str], None]) -> Recipe:
    say("  … Debian guest (about a minute)")
    # in mmdebstrap's user namespace this user is nobody, so the folder must be writable by all
    room = folder / "debian"
    room.mkdir(exist_ok=True)
    room.chmod(0o1777)
    out, tar, hook = room / "debian-13.ext4", room / "debian.tar", room / "hook"
    out.unlink(missing_ok=True)
    hook.write_text("#!/bin/sh\n" + _HOOK)
    hook.chmod(0o755)
    env = {**os.environ, "MASKED": " ".join(MASKED), "MODULES": str(modules), "TMPDIR": "/tmp"}  # noqa: S108 - mmdebstrap makes a private folder in it
    shell.run(_argv(apt, hook, tar), timeout_seconds=900, env=env, check=True)
    mke2fs = needs.find_program("mke2fs") or "mke2fs"
    words = [str(tar), f"{SIZE_MIB}M", str(out), mke2fs]
    inside = ["mmdebstrap", "--unshare-helper", "sh", "-c", _FILE_SYSTEM, "sh", *words]
    shell.run(inside, timeout_seconds=600, env=env, check=True)
    tar.unlink()
    final = folder / out.name
    out.rename(final)
    return Recipe(
        slug="debian-13",
        name="Debian 13",
        description="Debian 13 “trixie” with ssh, a small server to build on",
        path=final,
        format="FILESYSTEM",
        min_disk_mib=SIZE_MIB,
        min_memory_mib=256,
    )


def _argv(apt: packages.PrivateApt, hook: Path, tar: Path) -> list[str]:
    excludes = [f"--dpkgopt=path-exclude=/usr/share/{part}/*" for part in ("man", "doc", "locale", "info")]
    return [
        "mmdebstrap",
        "--mode=unshare",
        "--variant=minbase",
        f"--include={','.join(PACKAGES)}",
        '--aptopt=APT::Install-Recommends "false"',
        *excludes,
        f'--customize-hook={hook} "$1"',
        packages.SUITE,
        str(tar),
        str(apt.sources_file),
    ]

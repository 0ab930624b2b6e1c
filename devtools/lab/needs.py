"""The programs that the lab needs, and the Debian packages that contain them."""

import os
import shutil
from pathlib import Path

from devtools.lab.paths import LabError
from worker import shell

#: program -> the Debian (and Ubuntu) package that contains it
PROGRAMS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "mmdebstrap": "mmdebstrap",
    "dpkg-deb": "dpkg",
    "mke2fs": "e2fsprogs",
    "depmod": "kmod",
    "zstd": "zstd",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "tar": "tar",
}
KEYRING = "debian-archive-keyring"
KEYRING_FILE = "/usr/share/keyrings/debian-archive-keyring.gpg"


def find_program(name: str) -> str | None:
    """The path of a program, or None.

    The sbin folders, which are not in a plain user's PATH, are searched too.
    """
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    return shutil.which(name, path=path)


def missing_packages() -> list[str]:
    """The packages that are missing, in the order of PROGRAMS."""
    missing = [package for program, package in PROGRAMS.items() if find_program(program) is None]
    if not Path(KEYRING_FILE).exists():
        missing.append(KEYRING)
    return list(dict.fromkeys(missing))


def require_programs() -> None:
    """Raises LabError, which says what to install, if a program is missing."""
    missing = missing_packages()
    if missing:
        raise LabError(
            "The Xen lab needs programs that are not installed. Run:\n"
            f"  apt-get install --no-install-recommends {' '.join(missing)}"
        )


def require_root(what: str) -> None:
    if os.geteuid() != 0:
        raise LabError(f"{what} needs root: run this once as root or with sudo.")


def install_missing() -> list[str]:
    """Install missing packages. Returns their names. Raises LabError without root."""
    missing = missing_packages()
    if not missing:
        return []
    if os.geteuid() != 0 or find_program("apt-get") is None:
        require_programs()
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *missing]
    shell.run(["apt-get", "update", "-q"], timeout_seconds=300, env=env)
    shell.run(install, timeout_seconds=900, env=env, check=True)
    require_programs()
    return missing

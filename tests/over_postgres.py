"""Run a command with a private PostgreSQL: `python -m tests.over_postgres COMMAND…`.

The cluster is created from Debian's package in a temporary folder, listens only on a unix socket, and is
deleted afterwards. PostgreSQL refuses to run as root, so that root uses the package's user.
"""

import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: settings that give up durability, which a test cluster does not need
FAST = "-c fsync=off -c synchronous_commit=off -c full_page_writes=off -c max_connections=200"
TIMEOUT_SECONDS = 60


class NoPostgres(Exception):
    """PostgreSQL is not installed, or did not start."""


def find_programs(root: Path = Path("/usr/lib/postgresql")) -> Path:
    """Return the folder of the newest initdb and pg_ctl of Debian's packages."""
    versions = sorted(
        (path.parent for path in root.glob("*/bin/initdb")), key=lambda path: int(path.parent.name)
    )
    if not versions:
        raise NoPostgres("PostgreSQL is not installed: apt-get install postgresql")
    return versions[-1]


def _as_owner(argv: list[str], *, cwd: Path) -> None:
    user = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
    done = subprocess.run(
        argv,
        cwd=cwd,
        user=user.pw_uid if user else None,
        group=user.pw_gid if user else None,
        extra_groups=[] if user else None,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    if done.returncode:
        log = cwd / "log"
        raise NoPostgres(f"{argv[0]} failed: {done.stdout}{log.read_text() if log.exists() else ''}")


def _control(home: Path, *words: str) -> None:
    # the log goes to a file: a server that inherits the pipe would keep us waiting for its end
    _as_owner([f"{find_programs()}/pg_ctl", "-D", str(home / "data"), "-w", *words], cwd=home)


def start(url: str) -> None:
    """Start the cluster of this URL again."""
    home = Path(url.partition("?host=")[2])
    options = f"-c listen_addresses= -c unix_socket_directories={home} {FAST}"
    _control(home, "-l", str(home / "log"), "-o", options, "start")


def stop(url: str) -> None:
    """Stop it immediately, like a power failure except for data in the kernel's cache."""
    _control(Path(url.partition("?host=")[2]), "-m", "immediate", "stop")


@contextmanager
def started() -> Iterator[str]:
    """Start a cluster; yield the URL of its database."""
    initdb = f"{find_programs()}/initdb"
    # not pytest's folder: the path of a socket is limited to 107 bytes
    home = Path(tempfile.mkdtemp(prefix="wxpg-", dir="/tmp"))
    # the socket's folder goes into the query part: the host part of a URL cannot contain a path
    url = f"postgresql://webxen@/postgres?host={home}"
    try:
        if os.geteuid() == 0:
            shutil.chown(home, "postgres")
        data = str(home / "data")
        _as_owner([initdb, "-D", data, "-U", "webxen", "-A", "trust", "-E", "UTF8", "--no-sync"], cwd=home)
        start(url)
        try:
            yield url
        finally:
            stop(url)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def main(argv: list[str]) -> int:
    if not argv:
        print(__doc__)
        return 2
    with started() as url:
        print(f"over {re.sub('[?].*', '', url)} in a private cluster", flush=True)
        environment = {**os.environ, "WEBXEN_DATABASE_URL": url}
        return subprocess.run(argv, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

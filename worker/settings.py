"""The worker's settings, read once from environment variables, and the layout of its state directory.

No file is opened here but the one that holds the broker's address and password.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from worker.contract import membership, read_host_name

POOL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,63}")
#: the lease volume has one slot per number (worker.storage.area)
MAX_HOST_NUMBER = 63


class SettingsError(Exception):
    """A setting is missing or has an unusable value."""


@dataclass(frozen=True)
class Settings:
    """One dom0's settings.

    Identifiers passed to the path methods were checked by `worker.job.order_checks`.
    """

    host: str
    broker_url: str
    state_dir: Path
    host_key_file: Path
    portal_key_file: Path
    xl: Path
    xenstore_dir: Path
    #: the Unix socket at which the listener submits orders to the agent
    agent_socket: Path = Path("/run/webxen/agent.sock")
    #: account of the listener; only it, root and the agent's own account may connect
    listener_user: str = "webxen"
    #: relayd's Unix socket, its own directory, and the IP address at which other hosts reach it
    relay_socket: Path = Path("/run/webxen-relay/relay.sock")
    relay_dir: Path = Path("/var/lib/webxen-relay")
    relay_address: str = ""
    #: volume groups that are pools; one with a lease volume in it is shared between hosts
    lvm_pools: tuple[str, ...] = ()
    #: directories that several hosts see, by the pool's name
    file_pools: Mapping[str, Path] = field(default_factory=dict)
    #: this host's number among those that see a shared volume group; 0: it sees none
    host_number: int = 0
    #: where the kernel lists network devices; the stand-in host has a folder of its own
    network_dir: Path = Path("/sys/class/net")
    #: where Xen's tools log what each domain does
    xen_log_dir: Path = Path("/var/log/xen")
    #: exact sentences that allow a broker that would be refused (see worker.contract.broker_policy)
    open_broker_words: str = ""
    plain_broker_words: str = ""

    @property
    def images_dir(self) -> Path:
        return self.state_dir / "images"

    @property
    def kernels_dir(self) -> Path:
        return self.state_dir / "kernels"

    @property
    def disks_dir(self) -> Path:
        return self.state_dir / "disks"

    @property
    def machines_dir(self) -> Path:
        return self.state_dir / "machines"

    @property
    def journal_dir(self) -> Path:
        return self.state_dir / "journal"

    @property
    def console_dir(self) -> Path:
        return self.state_dir / "console"

    @property
    def moves_dir(self) -> Path:
        return self.state_dir / "moves"

    def machine_dir(self, machine_id: str) -> Path:
        return self.machines_dir / machine_id

    def machine_facts(self, machine_id: str) -> Path:
        return self.machine_dir(machine_id) / "machine.json"

    def machine_config(self, machine_id: str) -> Path:
        return self.machine_dir(machine_id) / "machine.cfg"

    def console_log(self, machine_id: str) -> Path:
        return self.console_dir / f"{machine_id}.log"

    def fence_file(self, machine_id: str) -> Path:
        return self.state_dir / "fences" / machine_id

    def receipt_file(self, machine_id: str) -> Path:
        return self.state_dir / "receipts" / machine_id

    def lock_file(self, machine_id: str) -> Path:
        return self.state_dir / "locks" / machine_id

    def make_directories(self) -> None:
        """Create the folders of the state directory with mode 0700. Raises OSError."""
        for name in (
            "images",
            "kernels",
            "disks",
            "machines",
            "journal",
            "console",
            "fences",
            "receipts",
            "locks",
            "moves",
        ):
            (self.state_dir / name).mkdir(mode=0o700, parents=True, exist_ok=True)


def read(env: Mapping[str, str], *, needs_broker: bool = True) -> Settings:
    """Read the settings from environment variables. Raises SettingsError naming the variable.

    Without `needs_broker` the broker's address and password are not read; the agent does not need them.
    """
    try:
        host = read_host_name(_needed(env, "WEBXEN_HOST"))
    except ValueError as error:
        raise SettingsError(f"WEBXEN_HOST is no host's name. {error}") from None
    pools = tuple(name for name in env.get("WEBXEN_LVM_POOLS", "").split(",") if name)
    return Settings(
        host=host,
        broker_url=membership.with_ca(_secret(env, "WEBXEN_BROKER_URL"), env.get("WEBXEN_BROKER_CA_FILE", ""))
        if needs_broker
        else "",
        state_dir=Path(env.get("WEBXEN_STATE_DIR", "/var/lib/webxen")),
        host_key_file=Path(env.get("WEBXEN_HOST_KEY_FILE", "/etc/webxen/host.key")),
        portal_key_file=Path(env.get("WEBXEN_PORTAL_KEY_FILE", "/etc/webxen/portal.pub")),
        xl=Path(env.get("WEBXEN_XL", "/usr/sbin/xl")),
        xenstore_dir=Path(env.get("WEBXEN_XENSTORE_DIR", "/usr/bin")),
        agent_socket=Path(env.get("WEBXEN_AGENT_SOCKET", "/run/webxen/agent.sock")),
        listener_user=env.get("WEBXEN_LISTENER_USER", "webxen"),
        relay_socket=Path(env.get("WEBXEN_RELAY_SOCKET", "/run/webxen-relay/relay.sock")),
        relay_dir=Path(env.get("WEBXEN_RELAY_DIR", "/var/lib/webxen-relay")),
        relay_address=env.get("WEBXEN_RELAY_ADDRESS", ""),
        lvm_pools=pools,
        file_pools=_file_pools(env, pools),
        host_number=_host_number(env),
        xen_log_dir=Path(env.get("WEBXEN_XEN_LOG_DIR", "/var/log/xen")),
        network_dir=Path(env.get("WEBXEN_NETWORK_DIR", "/sys/class/net")),
        open_broker_words=env.get("WEBXEN_ALLOW_OPEN_BROKER", ""),
        plain_broker_words=env.get("WEBXEN_ALLOW_PLAIN_BROKER", ""),
    )


def _file_pools(env: Mapping[str, str], others: tuple[str, ...]) -> dict[str, Path]:
    """Parse `name=/directory,…`. Raises SettingsError."""
    found: dict[str, Path] = {}
    for words in filter(None, env.get("WEBXEN_FILE_POOLS", "").split(",")):
        name, _, directory = words.partition("=")
        is_new = name not in (*found, *others, "local")
        if not (POOL_NAME.fullmatch(name) and directory.startswith("/") and is_new):
            raise SettingsError("WEBXEN_FILE_POOLS must be name=/directory,… with names used once")
        found[name] = Path(directory)
    return found


def _host_number(env: Mapping[str, str]) -> int:
    text = env.get("WEBXEN_HOST_NUMBER", "0")
    if not re.fullmatch(r"[0-9]{1,2}", text) or int(text) > MAX_HOST_NUMBER:
        raise SettingsError(f"WEBXEN_HOST_NUMBER must be a number from 1 to {MAX_HOST_NUMBER}")
    return int(text)


def _secret(env: Mapping[str, str], name: str) -> str:
    """The value of X, or the content of the file named by X_FILE: other processes can read an environment."""
    path = env.get(f"{name}_FILE", "")
    if not path:
        return _needed(env, name)
    try:
        return Path(path).read_text().strip()
    except OSError as error:
        raise SettingsError(f"{name}_FILE cannot be read: {error}") from None


def _needed(env: Mapping[str, str], name: str) -> str:
    value = env.get(name, "")
    if not value:
        raise SettingsError(f"{name} is not set")
    return value

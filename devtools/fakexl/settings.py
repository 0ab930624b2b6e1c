"""The properties of the stand-in host: memory, speed, versions. Read from settings.json in its directory."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    host: str = "xen1"
    total_memory_mib: int = 32768
    dom0_memory_mib: int = 640
    nr_cpus: int = 8
    #: names of the bridges, separated by spaces; "" accepts any
    bridges: str = ""
    virt_caps: str = "pv hvm hap gnttab-v1 gnttab-v2"
    #: seconds from the start of the boot log to the login prompt
    boot_seconds: float = 0.5
    #: seconds from the request to power off to the end of the guest
    shutdown_seconds: float = 0.2
    #: seconds for which an ended guest keeps its name, as with xl's own watcher
    linger_seconds: float = 0.1
    #: seconds between the old and the new domain of a reboot, when no domain exists
    reboot_gap_seconds: float = 0.1
    #: seconds that `xl create` takes
    create_seconds: float = 0.0
    #: bytes of one pass over a domain's memory in a migration, and seconds for all passes
    migrate_bytes: int = 1 << 20
    migrate_seconds: float = 0.2
    #: rate limit of xenconsoled: 30 events of a 2048 byte ring every 200 ms
    console_bytes_per_second: int = 307_200


def load(directory: Path) -> Settings:
    try:
        known = json.loads((directory / "settings.json").read_text())
    except FileNotFoundError:
        return Settings()
    names = {field.name for field in dataclasses.fields(Settings)}
    return Settings(**{name: value for name, value in known.items() if name in names})


def save(directory: Path, settings: Settings) -> None:
    (directory / "settings.json").write_text(json.dumps(dataclasses.asdict(settings), indent=1))

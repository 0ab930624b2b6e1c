"""What the stand-in host is like: memory, speed, versions. Read from settings.json in its directory.

Lives here: the defaults and the reader; what they do is in the modules that use them.
"""

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
    #: the bridges there are, by spaces; "" for any
    bridges: str = ""
    virt_caps: str = "pv hvm hap gnttab-v1 gnttab-v2"
    #: how long the boot log takes up to the login prompt
    boot_seconds: float = 0.5
    #: from the wish to power off to the end of the guest
    shutdown_seconds: float = 0.2
    #: an ended guest keeps its name this long, as xl's own watcher needs a moment
    linger_seconds: float = 0.1
    #: between the old and the new domain of a reboot no domain is there
    reboot_gap_seconds: float = 0.1
    #: how long `xl create` itself takes
    create_seconds: float = 0.0
    #: what one pass over a domain's memory writes when it is moved, and how long all passes take
    migrate_bytes: int = 1 << 20
    migrate_seconds: float = 0.2
    #: xenconsoled's brake: 30 events of a 2048 byte ring every 200 ms
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

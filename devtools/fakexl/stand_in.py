"""A stand-in host on disk: a directory with its state and, in bin/, the programs.

Used by tests, `make up` and the container image. `install` may be called again at any time; running domains
continue.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from devtools.fakexl import faults as fault_settings
from devtools.fakexl import recording, settings, state
from devtools.fakexl.settings import Settings

PROGRAMS = ("xl", "xenstore-read", "xenstore-list", "xenstore-ls", "xenstore-watch")
SCRIPT = """#!{python} -SE
import sys
sys.path[0] = {root!r}
from pathlib import Path
from devtools.fakexl.__main__ import main
sys.exit(main(Path({directory!r}), {program!r}, sys.argv[1:]))
"""


def install(directory: Path, host: Settings | None = None) -> Path:
    """Make a stand-in host in a directory. Returns the folder of its programs.

    WEBXEN_XL is the xl in it, WEBXEN_XENSTORE_DIR the folder itself.
    """
    directory = directory.resolve()
    programs = directory / "bin"
    programs.mkdir(parents=True, exist_ok=True)
    if host is not None or not (directory / "settings.json").exists():
        settings.save(directory, host or Settings())
    root = str(Path(__file__).resolve().parents[2])
    for program in PROGRAMS:
        fresh = programs / f".{program}"
        fresh.write_text(
            SCRIPT.format(python=sys.executable, root=root, directory=str(directory), program=program)
        )
        fresh.chmod(0o755)
        # by rename, because the program may be running now
        fresh.replace(programs / program)
    return programs


def power_off(directory: Path) -> list[int]:
    """Kill every domain process of a stand-in host, as a power cut does. Returns their pids."""
    return state.kill_all(directory)


@dataclass(frozen=True)
class StandIn:
    """A stand-in host for tests: installed, with faults that can be set and its recording."""

    directory: Path

    @classmethod
    def at(cls, directory: Path, host: Settings | None = None) -> "StandIn":
        install(directory, host)
        return cls(directory.resolve())

    @property
    def programs(self) -> Path:
        return self.directory / "bin"

    @property
    def xl(self) -> str:
        return str(self.programs / "xl")

    def lay_out(self, **faults: dict[str, object]) -> None:
        """Set faults, e.g. create={"hang": True}; no arguments clear all faults."""
        fault_settings.lay_out(self.directory, faults)

    def runs(self) -> list[recording.Run]:
        return recording.runs(self.directory / recording.FILE)

    def power_off(self) -> list[int]:
        return power_off(self.directory)

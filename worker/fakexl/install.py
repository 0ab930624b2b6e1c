"""Setting up a stand-in host: a directory with its state and, in bin/, the programs.

Lives here: what tests, `make up` and the container image call. `install` is idempotent.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from worker.fakexl import faults as shelf
from worker.fakexl import recording, settings, state
from worker.fakexl.settings import Settings

PROGRAMS = ("xl", "xenstore-read", "xenstore-list", "xenstore-ls", "xenstore-watch")
SCRIPT = """#!{python} -SE
import sys
sys.path[0] = {root!r}
from pathlib import Path
from worker.fakexl.__main__ import main
sys.exit(main(Path({directory!r}), {program!r}, sys.argv[1:]))
"""


@dataclass(frozen=True)
class StandIn:
    """A stand-in host on disk."""

    directory: Path

    @property
    def bin(self) -> Path:
        """What WEBXEN_XENSTORE_DIR is set to."""
        return self.directory / "bin"

    @property
    def xl(self) -> str:
        """What WEBXEN_XL is set to."""
        return str(self.bin / "xl")

    def lay_out(self, **faults: dict[str, object]) -> None:
        """Put faults on the shelf, e.g. create={"hang": True}; none clears it."""
        shelf.lay_out(self.directory, faults)

    def runs(self) -> list[recording.Run]:
        return recording.runs(self.directory / recording.FILE)

    def cut_power(self) -> list[int]:
        """End every domain process at once, by pid. Tests call it when they are done."""
        return state.kill_all(self.directory)


def install(directory: Path, host: Settings | None = None) -> StandIn:
    """Write settings and programs into a directory; domains that run there go on running."""
    stand_in = StandIn(directory.resolve())
    stand_in.bin.mkdir(parents=True, exist_ok=True)
    if host is not None or not (stand_in.directory / "settings.json").exists():
        settings.save(stand_in.directory, host or Settings())
    root = str(Path(__file__).resolve().parents[2])
    for program in PROGRAMS:
        path = stand_in.bin / program
        path.write_text(
            SCRIPT.format(
                python=sys.executable, root=root, directory=str(stand_in.directory), program=program
            )
        )
        path.chmod(0o755)
    return stand_in

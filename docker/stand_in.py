"""Make the folder of a dom0 with the stand-in xl: `python -m docker.stand_in FOLDER NAME`.

Lives here: the ground under the worker's container, harmless to make again. The stand-in is devtools/fakexl.
"""

import json
import sys
from pathlib import Path

from devtools import fakexl
from devtools.lab import guests
from devtools.lab.processes import read_or_make
from worker.identity import keys


def _new_key() -> str:
    return keys.generate()[0].decode()


def main(folder: Path, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    private = folder / "host.key"
    read_or_make(private, _new_key)
    (folder / "host.pub").write_bytes(keys.public_of(private.read_bytes()))
    fakexl.install(folder / "xl")
    # the bridge that the demo's network names, shaped as /sys/class/net is
    (folder / "net" / "xenbr0" / "bridge").mkdir(parents=True, exist_ok=True)
    rows = [image.as_row() for image in guests.install_local(folder / "state")]
    (folder / "images.json").write_text(json.dumps(rows))
    sys.stdout.write(f"{name} is ready in {folder}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])

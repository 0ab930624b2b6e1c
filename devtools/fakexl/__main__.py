"""`python -m devtools.fakexl DIRECTORY PROGRAM ARGUMENT…`: runs one of the stand-in programs.

The scripts that `devtools.fakexl.install` writes call `main` too.
"""

import sys
from pathlib import Path

from devtools.fakexl.refusal import Refusal


def main(directory: Path, program: str, arguments: list[str]) -> int:
    try:
        if program == "xl":
            from devtools.fakexl import verbs

            out, err = verbs.run(directory, arguments)
        else:
            from devtools.fakexl import xenstore

            out, err = xenstore.run(directory, program, arguments), ""
    except Refusal as refusal:
        out, err, rc = "", refusal.words, refusal.rc
    else:
        rc = 0
    sys.stdout.write(out)
    sys.stdout.flush()
    sys.stderr.write(err)
    return rc


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("usage: python -m devtools.fakexl DIRECTORY PROGRAM ARGUMENT…")
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:]))

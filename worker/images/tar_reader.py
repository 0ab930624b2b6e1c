"""`python -ISE tar_reader.py FILE`: lists a tarball in a process of its own and prints a summary as JSON.

Decides what a tarball may contain. It reads untrusted bytes, so it is started with limits on memory,
processor time and output (`shell.run_confined`), uses only the standard library, and writes nothing.
"""

import json
import lzma
import re
import sys
import tarfile
import zlib
from pathlib import Path
from typing import Any, ClassVar, Self

#: most resources that a hostile tarball may use
MAX_BYTES = 64 << 30
MAX_ENTRIES = 4_000_000
#: a header with a long name or extended attributes; GNU tar and pax write some hundred bytes
MAX_HEADER_BYTES = 1 << 20
MAX_NAME_BYTES = 4000
MAX_DEPTH = 100
#: device nodes are passed to tar one by one as arguments
MAX_DEVICES_BYTES = 256 << 10
#: a root file system compresses by a factor of two to six; above this size, this factor is refused
MAX_RATIO = 250
RATIO_FROM_BYTES = 256 << 20
HEADERS = (
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
)
ZSTD = b"\x28\xb5\x2f\xfd"


class Hostile(Exception):
    """Content that no regular archive of a root file system has; the text says what."""


class Header(tarfile.TarInfo):
    """A header block, refused before the data it announces is read into memory."""

    #: a valid header was read: a later invalid one is damage and not another archive format
    is_begun: ClassVar[bool] = False

    @classmethod
    def frombuf(cls, *args: Any, **kwargs: Any) -> Self:
        try:
            found = super().frombuf(*args, **kwargs)
        except (tarfile.EOFHeaderError, tarfile.EmptyHeaderError):  # type: ignore[attr-defined]
            raise  # the end
        except tarfile.HeaderError as error:
            # tarfile takes it for the end of the archive, but tar continues behind it
            if cls.is_begun:
                raise Hostile(f"it cannot be read: {error}") from error
            raise
        Header.is_begun = True
        if found.type in HEADERS and found.size > MAX_HEADER_BYTES:
            raise Hostile(f"a header of {found.size >> 20} MiB, where at most 1 MiB is read")
        if found.size < 0:
            raise Hostile("an entry of negative size")
        return found


def look(path: str) -> dict[str, Any]:
    """Bytes, number of entries and device nodes in the tarball. Raises Hostile and what tarfile raises."""
    links: set[str] = set()
    devices: list[str] = []
    size = count = named = 0
    stored = Path(path).stat().st_size
    with tarfile.open(path, "r:*", tarinfo=Header) as archive:
        for member in archive:
            name = _check(member, links)
            if member.issym():
                links.add(name)
            if member.isdev():
                devices.append(member.name)
                named += len(member.name.encode("utf-8", "surrogateescape")) + 16
            size, count = size + member.size, count + 1
            if size > MAX_BYTES or count > MAX_ENTRIES or named > MAX_DEVICES_BYTES:
                raise Hostile("it is too large")
            if size > RATIO_FROM_BYTES and size > MAX_RATIO * stored:
                raise Hostile(f"it holds {size >> 20} MiB in a file of {stored >> 10} KiB")
            archive.members = []  # type: ignore[attr-defined]  # else it keeps all entries
    if count == 0:
        raise Hostile("it is empty")
    return {"bytes": size, "entries": count, "devices": devices}


def _check(member: tarfile.TarInfo, links: set[str]) -> str:
    """The entry's name without a leading ./. Raises Hostile."""
    name = _inside(member.name, member.name)
    parts = name.split("/")
    for depth in range(1, len(parts)):
        if "/".join(parts[:depth]) in links:
            raise Hostile(f"{name[:200]!r} would be written through a link")
    if name in links and not member.issym():
        raise Hostile(f"{name[:200]!r} is a link and then something else")
    if member.islnk():
        _inside(member.linkname, member.name)
    if len(member.linkname) > MAX_NAME_BYTES:
        raise Hostile("a link to a name that is longer than any file system takes")
    if member.isdev() and not member.isfifo() and not re.match(r"(dev|lib/udev/devices)/", name):
        raise Hostile(f"{name[:200]!r} is a device node outside of dev/")
    return name


def _inside(path: str, name: str) -> str:
    if path.startswith("/") or ".." in path.split("/") or "\0" in path or "\n" in path:
        raise Hostile(f"{name[:200]!r} is or names a path outside of the root")
    if len(path) > MAX_NAME_BYTES or path.count("/") > MAX_DEPTH:
        raise Hostile("a name that is longer or deeper than any file system takes")
    return "/".join(part for part in path.split("/") if part not in ("", "."))


def _refuse_zstd(path: str) -> None:
    with Path(path).open("rb") as file:
        if file.read(len(ZSTD)) == ZSTD:
            raise Hostile("zstd is not read here; compress it with gzip, bzip2 or xz instead")


def main(path: str) -> int:
    """Print the summary, or why the tarball is refused. Returns the exit code."""
    try:
        _refuse_zstd(path)
        answer = look(path)
    except Hostile as error:
        answer = {"error": str(error)}
    except MemoryError:
        answer = {"error": "it needs more memory to be read than any honest archive"}
    except RecursionError:
        answer = {"error": "headers that announce headers, without end"}
    except (tarfile.TarError, EOFError, OSError, ValueError, lzma.LZMAError, zlib.error) as error:
        answer = {"error": f"it cannot be read: {str(error)[:300]}"}
    sys.stdout.write(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

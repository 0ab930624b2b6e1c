"""Debian packages for the dom0 and its guests, from the mirror that this machine uses.

Reads apt's configuration, uses a private apt beside the machine's own, downloads and unpacks. No mirror is
named here.
"""

import os
import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from devtools.lab import needs
from devtools.lab.paths import LabError
from worker import shell

SUITE = "trixie"
MIRROR_VARIABLE = "WEBXEN_DEBIAN_MIRROR"
_PARTS = ("", "-updates", "-security")


@dataclass(frozen=True)
class Source:
    """One line of apt's sources: the location of a suite of Debian."""

    uri: str
    suite: str
    signed_by: str = ""

    def line(self) -> str:
        keyring = self.signed_by or needs.KEYRING_FILE
        return f"deb [signed-by={keyring}] {self.uri} {self.suite} main\n"


def parse_one_line(text: str) -> list[Source]:
    """Parse sources in apt's one-line format."""
    found = []
    for line in text.splitlines():
        match = re.match(r"^\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)", line)
        if match:
            options = dict(o.split("=", 1) for o in shlex.split(match[1] or "") if "=" in o)
            found.append(Source(match[2], match[3], options.get("signed-by", "")))
    return found


def parse_deb822(text: str) -> list[Source]:
    """Parse sources in apt's deb822 format."""
    found = []
    for stanza in re.split(r"\n\s*\n", text):
        lines = [line for line in stanza.splitlines() if not line.startswith("#")]
        fields = {
            name.strip().lower(): value.strip()
            for name, colon, value in (line.partition(":") for line in lines)
            if colon and not name.startswith((" ", "\t"))
        }
        if fields.get("enabled", "yes").lower() == "no" or "deb" not in fields.get("types", "").split():
            continue
        keyring = fields.get("signed-by", "")
        found += [
            Source(uri, suite, keyring if keyring.startswith("/") else "")
            for uri in fields.get("uris", "").split()
            for suite in fields.get("suites", "").split()
        ]
    return found


def read_sources(apt_dir: Path) -> list[Source]:
    """All sources of apt on this machine."""
    parts = apt_dir / "sources.list.d"
    one_line = [apt_dir / "sources.list", *sorted(parts.glob("*.list"))]
    found = [s for path in one_line if path.is_file() for s in parse_one_line(path.read_text())]
    deb822 = [path.read_text() for path in sorted(parts.glob("*.sources"))]
    return found + [s for text in deb822 for s in parse_deb822(text)]


def swap_suite(sources: Iterable[Source], *, codename: str) -> list[Source]:
    """Debian's own entries among the sources, with the suite of the dom0."""
    names = {base + part: SUITE + part for base in (codename, "stable") for part in _PARTS}
    swapped = [Source(s.uri, names[s.suite], s.signed_by) for s in sources if s.suite in names]
    return list(dict.fromkeys(swapped))


def read_os_release(path: Path = Path("/etc/os-release")) -> dict[str, str]:
    pairs = (line.partition("=") for line in path.read_text().splitlines())
    return {name: value.strip("\"'") for name, equals, value in pairs if equals}


def dom0_sources() -> list[Source]:
    """The sources for the dom0's packages. Raises LabError."""
    mirror = os.environ.get(MIRROR_VARIABLE, "").strip()
    if mirror:
        return [Source(mirror, SUITE)]
    release = read_os_release()
    if release.get("ID") != "debian":
        raise LabError(
            f"This machine runs {release.get('NAME', 'another system')}, whose apt knows no Debian mirror: "
            f"set {MIRROR_VARIABLE} to the address of one."
        )
    codename = release.get("VERSION_CODENAME", "")
    found = swap_suite(read_sources(Path("/etc/apt")), codename=codename)
    if not found:
        raise LabError(
            f"No Debian mirror for {codename} found under /etc/apt: set {MIRROR_VARIABLE} to one's address."
        )
    return found


@dataclass(frozen=True)
class PrivateApt:
    """An apt with its own lists, sources and cache, which leaves the machine's untouched."""

    folder: Path

    @property
    def sources_file(self) -> Path:
        return self.folder / "sources.list"

    def prepare(self) -> None:
        """Write the configuration and download the lists. Raises CommandFailed."""
        for part in ("lists/partial", "cache/archives/partial"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        (self.folder / "status").write_text("")
        self.sources_file.write_text("".join(source.line() for source in dom0_sources()))
        values = {
            "Dir::Etc::SourceList": self.sources_file,
            "Dir::Etc::SourceParts": "/dev/null",
            "Dir::State": self.folder,
            "Dir::State::Lists": self.folder / "lists",
            "Dir::State::status": self.folder / "status",
            "Dir::Cache": self.folder / "cache",
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
        }
        text = "".join(f'{name} "{value}";\n' for name, value in values.items())
        (self.folder / "apt.conf").write_text(text)
        self._run(["apt-get", "update", "-q"], timeout_seconds=300)

    def depends_on_kernel(self, name: str) -> str:
        """The versioned package that a meta package such as linux-image-amd64 depends on. Raises LabError."""
        shown = self._run(["apt-cache", "show", "--no-all-versions", name], timeout_seconds=60)
        match = re.search(r"^Depends:.*?(linux-image-[^\s,]+)", shown.text, re.MULTILINE)
        if match is None:
            raise LabError(f"Debian's package {name} names no kernel.")
        return match[1]

    def fetch(self, names: Sequence[str], *, into: Path) -> list[Path]:
        """Download packages. Returns their files. Raises CommandFailed."""
        into.mkdir(parents=True, exist_ok=True)
        before = set(into.glob("*.deb"))
        # apt downloads only into the current folder
        script = ["env", "-C", str(into), "apt-get", "download", "-q", *names]
        self._run(script, timeout_seconds=900)
        return sorted(set(into.glob("*.deb")) - before)

    def _run(self, argv: Sequence[str], *, timeout_seconds: float) -> shell.Result:
        env = {**os.environ, "APT_CONFIG": str(self.folder / "apt.conf"), "LC_ALL": "C"}
        return shell.run(argv, timeout_seconds=timeout_seconds, env=env, check=True)


def unpack(package: Path, *, into: Path) -> None:
    into.mkdir(parents=True, exist_ok=True)
    shell.run(["dpkg-deb", "-x", str(package), str(into)], timeout_seconds=300, check=True)

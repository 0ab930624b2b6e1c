"""A running portal to drive a browser against: `python -m devtools.lab.portal up`, as `make up` does it."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
UP_SECONDS = {"fake": 180, "xen": 900}
#: the stand-in's hosts, as `make up` names them
HOSTS = ("fake1", "fake2")
#: the stand-in's guests boot slowly enough for a person to see the bar move
FAKE_BOOT_SECONDS = 10


@dataclass(frozen=True)
class Desk:
    """Where it answers, and how its people sign in."""

    url: str
    passwords: dict[str, str]
    #: a guest under software emulation boots slowly
    boot_seconds: int
    is_stand_in: bool


@contextmanager
def desk(dom0: str, data: Path, *, hosts: int = 1, own: Mapping[str, str] | None = None) -> Iterator[Desk]:
    """Bring a portal up, with settings of its `own`, and, unless it ran before us, down again."""
    was_up = (data / "demo.json").exists() and _portal(data, "status").returncode == 0 and _is_web_up(data)
    words = ["up", "--dom0", dom0, "--hosts", str(hosts), "--detach"]
    if not was_up:
        words += ["--port", str(_free_port())]
        started = _portal(data, *words, seconds=UP_SECONDS[dom0], own=own)
        assert started.returncode == 0, f"the portal did not come up:\n{started.stdout}\n{started.stderr}"
    if dom0 == "fake":
        for name in HOSTS[:hosts]:
            settings = data / "hosts" / name / "xl" / "settings.json"
            settings.write_text(json.dumps({"boot_seconds": FAKE_BOOT_SECONDS}))
    demo = json.loads((data / "demo.json").read_text())
    passwords = {person["username"]: person["password"] for person in demo["accounts"]}
    try:
        yield Desk(
            demo["url"], passwords, boot_seconds=180 if dom0 == "fake" else 300, is_stand_in=dom0 == "fake"
        )
    finally:
        if not was_up:
            _portal(data, "down", "--dom0", dom0, seconds=120)


def _is_web_up(data: Path) -> bool:
    lines = _portal(data, "status").stdout.splitlines()
    return any(line.split() == ["web", "running"] for line in lines)


def _portal(
    data: Path, what: str, *words: str, seconds: int = 60, own: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "devtools.lab.portal", what, "--data", str(data), *words]
    env = {name: value for name, value in os.environ.items() if not name.startswith(("WEBXEN_", "DJANGO_"))}
    env |= own or {}
    return subprocess.run(
        argv, cwd=ROOT, env=env, capture_output=True, text=True, timeout=seconds, check=False
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

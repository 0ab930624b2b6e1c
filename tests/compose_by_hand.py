"""`python -m tests.compose_by_hand`: start the services of docker-compose.yml without a container engine.

Runs each service's command with its environment, in the order of `depends_on`, then docs/walkthrough.sh. Not
tested this way: the two published images (PostgreSQL and Redis come from this machine's packages), the build
of the portal's image, and the engine's networks and volumes.
"""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

from tests import over_postgres

ROOT = Path(__file__).parent.parent
SECONDS = 120.0


class Ground:
    """The compose file with this machine's paths and ports instead of the engine's."""

    def __init__(self, home: Path, database_url: str) -> None:
        names = ("WEBXEN_SECRET_KEY", "POSTGRES_PASSWORD", "REDIS_PASSWORD", "HOST_PASSWORD")
        self.ports = {"redis": _free_port(), "web": _free_port()}
        self._secrets = {name: secrets.token_hex(16) for name in names}
        self._home, self._database_url = home, database_url
        self.services: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
        self.log = (home / "log").open("w")
        for folder in ("host", "data", "redis"):
            (home / folder).mkdir()

    def _fill(self, text: object) -> str:
        filled = str(text)
        for name, value in self._secrets.items():
            filled = filled.replace(f"${{{name}:?see the top of docker-compose.yml}}", value)
        if filled.startswith("postgresql://"):
            return self._database_url
        if filled.startswith(("/host", "/data", "/tmp/")):
            filled = f"{self._home}/{filled.removeprefix('/tmp/').lstrip('/')}"
        if filled == "0.0.0.0":
            return "127.0.0.1"
        return filled.replace("@redis:6379", f"@127.0.0.1:{self.ports['redis']}")

    def command(self, name: str) -> list[str]:
        line = [self._fill(word) for word in self.services[name]["command"]]
        if name == "redis":
            return [*line, "--port", str(self.ports["redis"]), "--bind", "127.0.0.1"]
        return [str(self.ports["web"]) if word == "8000" else word for word in line]

    def environment(self, name: str) -> dict[str, str]:
        told = {key: self._fill(value) for key, value in self.services[name].get("environment", {}).items()}
        path = f"{ROOT / '.venv/bin'}:{os.environ['PATH']}"
        return {
            "PATH": path,
            "HOME": str(self._home),
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            **told,
        }

    def start(self, name: str) -> subprocess.Popen[bytes]:
        cwd = self._home / "redis" if name == "redis" else ROOT
        print(f"{name}: {' '.join(self.services[name]['command'])[:90]}", flush=True)
        command = [self._scripted(word) for word in self.command(name)]
        return subprocess.Popen(
            command,
            cwd=cwd,
            env=self.environment(name),
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def _scripted(self, word: str) -> str:
        """Return a copy of a script with the volumes' paths replaced."""
        if not word.endswith(".sh"):
            return word
        text = (ROOT / word).read_text()
        for path in ("/host", "/data"):
            text = text.replace(f" {path}/", f" {self._home}{path}/")
        copy = self._home / Path(word).name
        copy.write_text(text)
        return str(copy)


@contextmanager
def running(ground: Ground, name: str) -> Iterator[None]:
    process = ground.start(name)
    try:
        yield
        assert process.poll() is None, f"{name} has ended with {process.returncode}"
    finally:
        with suppress(ProcessLookupError):  # it has already ended, which is reported above
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=30)


def run(ground: Ground, name: str) -> None:
    """Run a service that must end successfully before the others start."""
    assert ground.start(name).wait(timeout=SECONDS) == 0, f"{name} failed"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _await_port(port: int) -> None:
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"nobody listens at {port}")


def _await_host(url: str, token: str) -> None:
    question = urllib.request.Request(f"{url}/api/v1/hosts/", headers={"Authorization": f"Bearer {token}"})
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        with urllib.request.urlopen(question, timeout=30) as answer:
            if any(host["observed_at"] for host in json.load(answer)["results"]):
                return
        time.sleep(0.5)
    raise AssertionError("the worker was not heard of")


def in_order(services: dict[str, Any]) -> list[str]:
    """Return the services ordered by their dependencies."""
    order: list[str] = []
    while len(order) < len(services):
        ready = [
            name
            for name, service in services.items()
            if name not in order and set(service.get("depends_on", {})) <= set(order)
        ]
        order += ready
    return order


def main() -> int:
    with over_postgres.started() as url, tempfile.TemporaryDirectory(prefix="wxcompose-", dir="/tmp") as home:
        ground = Ground(Path(home), url)
        try:
            _walk(ground, Path(home))
        except BaseException:
            print((Path(home) / "log").read_text()[-4000:])
            raise
    return 0


def _walk(ground: Ground, home: Path) -> None:
    with ExitStack() as stack:
        for name in in_order(ground.services):
            if name == "postgres":
                continue
            if name in ("ground", "migrate"):
                run(ground, name)
                continue
            stack.enter_context(running(ground, name))
            if name in ground.ports:
                _await_port(ground.ports[name])
        portal = f"http://127.0.0.1:{ground.ports['web']}"
        people = json.loads((home / "data/people.json").read_text())["accounts"]
        tokens = {person["username"]: person["token"] for person in people}
        _await_host(portal, tokens["dana"])
        told = {"WEBXEN_URL": portal, "WEBXEN_TOKEN": tokens["alice"]}
        subprocess.run(["docs/walkthrough.sh"], cwd=ROOT, env={**os.environ, **told}, timeout=300, check=True)


if __name__ == "__main__":
    sys.exit(main())

"""Effect of anonymous attackers on other users: `python -m tests.bench.anonymous_attacks`.

The web server as started by `make up`, a Redis, and each database in turn. Two users send requests
continuously: one for the sign-in page, one with a token for a write (more quota, withdrawn again). Their p99
is measured alone and under each attack of `attack_clients`, in one run; the goal is a ratio of at most 3.
Also printed are the web server's memory, threads, descriptors and database connections before, at most
during, and after the attack.
"""

import argparse
import asyncio
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from tests import over_postgres
from tests.bench import quota_race
from tests.bench.attack_clients import KINDS

GOAL_RATIO = 3.0
PACE_SECONDS = 0.1
#: until an attack is in progress, and until its connections have ended
BEGIN_SECONDS, AFTER_SECONDS = 3.0, 12.0
ANSWER_SECONDS = 120.0


@dataclass(frozen=True)
class Used:
    """Resources used by the web server."""

    mib: int
    threads: int
    descriptors: int
    connections: int

    def most(self, other: "Used") -> "Used":
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return Used(*(max(pair) for pair in pairs))

    def __str__(self) -> str:
        return f"{self.mib}/{self.threads}/{self.descriptors}/{self.connections}"


@dataclass(frozen=True)
class Portal:
    port: int
    pid: int
    database_url: str
    token: str
    job: str

    def used(self) -> Used:
        status = dict(
            line.split(":", 1) for line in Path(f"/proc/{self.pid}/status").read_text().splitlines()
        )
        links = []
        for link in Path(f"/proc/{self.pid}/fd").iterdir():
            try:
                links.append(str(link.readlink()))
            except OSError:
                links.append("")
        rows = sum(link.endswith(".sqlite3") for link in links)
        if self.database_url:
            with psycopg.connect(_libpq(self.database_url)) as asked:
                found = asked.execute("select count(*) from pg_stat_activity where client_port is not null")
                rows = int((found.fetchone() or (0,))[0]) - 1
        return Used(int(status["VmRSS"].split()[0]) >> 10, int(status["Threads"]), len(links), rows)


@dataclass(frozen=True)
class Times:
    """p99 in seconds, and the number of wrong answers."""

    page: float
    post: float
    failures: int


@dataclass(frozen=True)
class Phase:
    kind: str
    alone: Times
    attacked: Times
    before: Used
    most: Used
    after: Used

    @property
    def ratios(self) -> tuple[float, float]:
        return self.attacked.page / self.alone.page, self.attacked.post / self.alone.post


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--database", choices=("sqlite", "postgresql", "both"), default="both")
    parser.add_argument("--only", choices=tuple(KINDS))
    given = parser.parse_args(argv)
    kinds = [given.only] if given.only else list(KINDS)
    is_good = True
    if given.database in ("sqlite", "both"):
        is_good &= _run("", given.seconds, kinds)
    if given.database in ("postgresql", "both"):
        with over_postgres.started() as url:
            is_good &= _run(url, given.seconds, kinds)
    return 0 if is_good else 1


def _run(database_url: str, seconds: float, kinds: list[str]) -> bool:
    print(f"{'PostgreSQL' if database_url else 'SQLite'}; MiB/threads/descriptors/database connections")
    print("| attack | sign-in page p99 | ratio | token's POST p99 | ratio | failed | before | most | after |")
    print("|---|---|---|---|---|---|---|---|---|")
    worst, failures = 0.0, 0
    with _portal(database_url) as portal:
        for kind in kinds:
            phase = asyncio.run(_phase(portal, kind, seconds))
            _show(phase)
            worst = max(worst, *phase.ratios)
            failures += phase.attacked.failures
    print(f"worst ratio {worst:.1f}, wanted {GOAL_RATIO:.0f} at most; {failures} failed\n", flush=True)
    return worst <= GOAL_RATIO and not failures


def _show(phase: Phase) -> None:
    alone, attacked = phase.alone, phase.attacked
    page, post = phase.ratios
    cells = [
        phase.kind,
        f"{alone.page * 1000:.0f} → {attacked.page * 1000:.0f} ms",
        f"{page:.1f}",
        f"{alone.post * 1000:.0f} → {attacked.post * 1000:.0f} ms",
        f"{post:.1f}",
        *map(str, (attacked.failures, phase.before, phase.most, phase.after)),
    ]
    print(f"| {' | '.join(cells)} |", flush=True)


@contextmanager
def _portal(database_url: str) -> Iterator[Portal]:
    with tempfile.TemporaryDirectory(prefix="wxatt-", dir="/tmp") as folder:
        home = Path(folder)
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "webxen.settings",
            "WEBXEN_DATA": folder,
            "WEBXEN_SECRET_KEY": secrets.token_hex(32),
            "WEBXEN_REDIS_URL": f"unix://{folder}/redis.sock",
            "WEBXEN_DATABASE_URL": database_url or f"sqlite://{folder}/attacks.sqlite3",
            "WEBXEN_LOG_LEVEL": "ERROR",
        }
        subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], env=environment, check=True)
        tokens = json.loads(quota_race.ask("prepare", environment))
        with quota_race.redis_server(home), quota_race.web_server(home, environment) as (port, pid):
            wish = {"name": "held", "image": "minimal", "size": "small"}
            _status, said = asyncio.run(_post(port, tokens[1], "requests/", wish))
            yield Portal(port, pid, database_url, tokens[0], said["job"])


async def _phase(portal: Portal, kind: str, seconds: float) -> Phase:
    """This many seconds without the attack, then as many with it, because the machine's other load varies."""
    before = portal.used()
    alone, _ = await _ask_on(portal, seconds)
    argv = [sys.executable, "-m", "tests.bench.attack_clients"]
    argv += [kind, str(portal.port), portal.job, portal.token]
    attack = subprocess.Popen(argv, stderr=subprocess.DEVNULL)  # noqa: ASYNC220 not waited for
    try:
        await asyncio.sleep(BEGIN_SECONDS)
        attacked, most = await _ask_on(portal, seconds)
    finally:
        attack.kill()
        attack.wait()
    await asyncio.sleep(AFTER_SECONDS)
    return Phase(kind, alone, attacked, before, most, portal.used())


async def _ask_on(portal: Portal, seconds: float) -> tuple[Times, Used]:
    most, until = portal.used(), time.monotonic() + seconds
    asking = [asyncio.create_task(work(portal, until)) for work in (_look, _write)]
    while not all(task.done() for task in asking):
        most = most.most(portal.used())
        await asyncio.sleep(1)
    (page, lost), (post, failed) = [task.result() for task in asking]
    return Times(page, post, lost + failed), most


async def _look(portal: Portal, until: float) -> tuple[float, int]:
    """Request the sign-in page; return p99 and the number of answers other than 200."""
    took, failures = [], 0
    while time.monotonic() < until:
        began = time.monotonic()
        status, _ = await _ask(
            portal.port, f"GET /accounts/login/ HTTP/1.1\r\nHost: 127.0.0.1:{portal.port}\r\n"
        )
        took.append(time.monotonic() - began)
        failures += status != "200"
        await asyncio.sleep(PACE_SECONDS)
    return _p99(took), failures


async def _write(portal: Portal, until: float) -> tuple[float, int]:
    """Request more quota and withdraw it, by token; return p99 and the number of refusals."""
    took, failures, waiting = [], 0, ""
    while time.monotonic() < until or waiting:
        path = f"quota-requests/{waiting}/withdraw/" if waiting else "quota-requests/"
        body = {} if waiting else {"machines": 5000, "reason": "a benchmark"}
        began = time.monotonic()
        status, said = await _post(portal.port, portal.token, path, body)
        took.append(time.monotonic() - began)
        failures += status not in ("200", "201")
        waiting = said.get("id", "") if not waiting else ""
        await asyncio.sleep(PACE_SECONDS)
    return _p99(took), failures


async def _post(port: int, token: str, path: str, body: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    raw = json.dumps(body).encode()
    head = (
        f"POST /api/v1/{path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(raw)}\r\n"
    )
    status, said = await _ask(port, head, raw)
    try:
        return status, json.loads(said)
    except ValueError:
        return status, {}


async def _ask(port: int, head: str, body: bytes = b"") -> tuple[str, bytes]:
    """One request on a connection of its own."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"{head}Connection: close\r\n\r\n".encode() + body)
            answer = await reader.read()
            writer.close()
    except (OSError, TimeoutError) as error:
        return type(error).__name__, b""
    return answer[9:12].decode(), answer.partition(b"\r\n\r\n")[2]


def _p99(took: list[float]) -> float:
    return sorted(took)[min(int(len(took) * 0.99), len(took) - 1)]


def _libpq(url: str) -> str:
    folder = url.partition("?host=")[2]
    return f"postgresql:///postgres?user=webxen&host={folder}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

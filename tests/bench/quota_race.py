"""1000 concurrent users and a quota of 10: `python -m tests.bench.quota_race [--people 1000]`.

A real web server, a real Redis, and each database in turn. Every client has a connection, waits for a common
start signal and requests a machine with `if_over_quota: refuse`. The goal: exactly ten accepted, all others
answered QUOTA_EXCEEDED, no 5xx answer, and a consistent ledger.
"""

import argparse
import asyncio
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import over_postgres

QUOTA = 10
ANSWER_SECONDS = 300.0
READY_SECONDS = 60.0


@dataclass(frozen=True)
class Outcome:
    """The answers of all users."""

    database: str
    answers: Counter[str]
    seconds: float
    #: CPU seconds of the web server: more meaningful than elapsed time on a busy machine
    worked: float
    slowest: float
    machines: int
    reserved: int
    drift: list[str]

    @property
    def is_right(self) -> bool:
        people = sum(self.answers.values())
        wanted = Counter({"201 APPROVED": QUOTA, "409 QUOTA_EXCEEDED": people - QUOTA})
        return self.answers == wanted and self.machines == self.reserved == QUOTA and not self.drift


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=1000)
    parser.add_argument("--database", choices=("sqlite", "postgresql", "both"), default="both")
    given = parser.parse_args(argv)
    outcomes = []
    if given.database in ("sqlite", "both"):
        outcomes.append(race(database_url="", people=given.people))
    if given.database in ("postgresql", "both"):
        with over_postgres.started() as url:
            outcomes.append(race(database_url=url, people=given.people))
    for outcome in outcomes:
        _show(outcome)
    return 0 if all(outcome.is_right for outcome in outcomes) else 1


def _show(outcome: Outcome) -> None:
    told = ", ".join(f"{count} x {what}" for what, count in sorted(outcome.answers.items()))
    print(f"{outcome.database}: {'right' if outcome.is_right else 'WRONG'}: {told}")
    print(
        f"  {outcome.seconds:.1f} s in all, slowest answer {outcome.slowest:.1f} s, "
        f"{outcome.worked:.1f} s of processor time in the web server; "
        f"{outcome.machines} machines, {outcome.reserved} reserved, drift: {outcome.drift or 'none'}"
    )


def race(*, database_url: str, people: int) -> Outcome:
    """One round over one database."""
    with tempfile.TemporaryDirectory(prefix="wxrace-", dir="/tmp") as folder:
        home = Path(folder)
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "webxen.settings",
            "WEBXEN_DATA": folder,
            "WEBXEN_SECRET_KEY": secrets.token_hex(32),
            "WEBXEN_REDIS_URL": f"unix://{folder}/redis.sock",
            "WEBXEN_DATABASE_URL": database_url or f"sqlite://{folder}/race.sqlite3",
        }
        manage = [sys.executable, "manage.py"]
        subprocess.run([*manage, "migrate", "-v0"], env=environment, check=True)
        tokens = json.loads(ask("prepare", environment))
        with redis_server(home), web_server(home, environment) as (port, web):
            before, started = processor_seconds(web), time.monotonic()
            answers = asyncio.run(_all_at_once(port, tokens, people))
            seconds, worked = time.monotonic() - started, processor_seconds(web) - before
        after = json.loads(ask("look", environment))
        return Outcome(
            database="PostgreSQL" if database_url else "SQLite",
            answers=Counter(what for what, _ in answers),
            seconds=seconds,
            worked=worked,
            slowest=max(lasted for _, lasted in answers),
            **after,
        )


def ask(what: str, environment: Mapping[str, str]) -> str:
    """Run a process with the portal's settings that prepares or inspects the data."""
    code = f"import tests.bench.quota_race_world as world; world.{what}()"
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=True, stdout=subprocess.PIPE)
    return done.stdout.decode()


@contextmanager
def redis_server(home: Path) -> Iterator[None]:
    path = home / "redis.sock"
    argv = ["redis-server", "--port", "0", "--unixsocket", str(path), "--unixsocketperm", "700", "--save", ""]
    with _running(argv, dict(os.environ), home / "redis.log"):
        _wait(path.exists)
        yield


@contextmanager
def web_server(home: Path, environment: Mapping[str, str]) -> Iterator[tuple[int, int]]:
    """Start the web server; yield its port and process id."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    argv = [sys.executable, "-m", "uvicorn", "webxen.asgi:application", "--no-proxy-headers"]
    argv += ["--http", "webxen.core.connections:GuardedHttp"]
    options = ["--port", str(port), "--no-access-log", "--ws", "websockets-sansio", "--log-level", "warning"]
    log = home / "web.log"
    with _running([*argv, *options], environment, log) as pid:
        _wait(lambda: _answers(port))
        yield port, pid
    for line in log.read_text().splitlines()[-12:]:
        print(f"  web: {line[:200]}")


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@contextmanager
def _running(argv: list[str], environment: Mapping[str, str], log: Path) -> Iterator[int]:
    with log.open("wb") as out, subprocess.Popen(argv, env=environment, stdout=out, stderr=out) as process:
        try:
            yield process.pid
        finally:
            process.terminate()
            process.wait(timeout=30)


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _wait(is_ready: Any) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not is_ready():
        if time.monotonic() > deadline:
            raise TimeoutError("it did not come up")
        time.sleep(0.1)


async def _all_at_once(port: int, tokens: list[str], people: int) -> list[tuple[str, float]]:
    shot = asyncio.Event()
    asking = [asyncio.create_task(_one(port, tokens[n % len(tokens)], n, shot)) for n in range(people)]
    await asyncio.sleep(0)
    shot.set()
    return await asyncio.gather(*asking)


async def _one(port: int, token: str, number: int, shot: asyncio.Event) -> tuple[str, float]:
    """One user's request on a connection of its own; return the answer and its duration."""
    body = json.dumps(
        {"name": f"race-{number}", "image": "minimal", "size": "small", "if_over_quota": "refuse"}
    ).encode()
    head = (
        f"POST /api/v1/requests/ HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    await shot.wait()
    began = time.monotonic()
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head.encode() + body)
            await writer.drain()
            answer = await reader.read()
            writer.close()
    except (OSError, TimeoutError) as error:
        return type(error).__name__, time.monotonic() - began
    return _told(answer), time.monotonic() - began


def _told(answer: bytes) -> str:
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head[9:12].decode(errors="replace") or "nothing"
    try:
        said = json.loads(body)
    except ValueError:
        return status
    return f"{status} {said.get('code') or said.get('status')}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

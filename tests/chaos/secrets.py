"""Secrets in the running product: what each process exposes, and what is written anywhere.

One row of the table. It creates a machine with unique secrets, opens its console, deletes it, and searches
the command lines and environments of all processes involved, the logs, the hosts' files, the database and
Redis. The same search must find planted canaries.
"""

import http.cookiejar
import json
import random
import re
import subprocess
import threading
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from websockets.sync.client import connect

from tests.chaos.faults import row
from tests.chaos.running_stack import Refused, RunningStack
from tests.worker.console_bench import wait_for

#: places that need secrets: the user's files, the broker, the guest
THEIR_PLACES = re.compile(r"/(demo|people)\.json$|/broker/|\.key$|/broker\.url$|\.(img|ext4|iso|tar\.gz)$")
#: django_session stores session keys
THEIR_TABLES = {"django_session"}
WHERE = ("processes", "files", "database", "Redis")


@row
def secrets_looked_for(stack: RunningStack, dice: random.Random) -> list[str]:
    """secrets in command lines, environments, logs, journals, database, Redis: none"""
    secrets: dict[str, str] = {}
    _make_room(stack)
    with _watched(stack) as seen:
        _live(stack, secrets)
        wait_for(lambda: not stack.open_jobs(), "the end of all jobs", 60)
        places = {**_places(stack), "processes": "\n".join(seen)}
        wrong = _found(secrets, places)
    return wrong + _teeth(stack)


def _make_room(stack: RunningStack) -> None:
    """Earlier rows may have left the project full."""
    for machine in stack.machines()[:3]:
        if machine["state"] in ("READY", "FAILED") and machine["open_job"] is None:
            stack.act(machine["id"], "delete")
    wait_for(lambda: not stack.open_jobs(), "room", 60)


def _live(stack: RunningStack, secrets: dict[str, str]) -> None:
    """Run a machine's life from the request to its deletion; return all its secrets."""
    secrets["the root password"] = password = f"canary-{uuid.uuid4().hex}"
    private = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    secrets["the private half of an ssh key"] = private.decode().splitlines()[2]
    wish = {"name": f"m{uuid.uuid4().hex[:8]}", "image": "minimal", "size": "tiny", "reason": "x"}
    with suppress(Refused):
        stack.call("POST", "requests/", {**wish, "ssh_keys": [private.decode()]})
    machine = str(stack.call("POST", "requests/", {**wish, "password": password})["machine"])
    secrets["a token"] = str(stack.call("POST", "tokens/", {"name": wish["name"]})["secret"])
    secrets["alice's token"] = stack.tokens["alice"]
    secrets["a session cookie"] = _sign_in(stack)
    wait_for(lambda: _state(stack, machine) == "READY", "the machine", 60)
    secrets["a console ticket"] = _look_at_console(stack, machine)
    broker = stack.desk.data / "broker"
    for path in broker.glob("*.password"):
        secrets[f"the broker's password of {path.stem}"] = path.read_text().strip()
    secrets["Django's secret key"] = (stack.desk.data / "secret.key").read_text().strip()
    for path in (stack.desk.data / "portal.key", *(stack.desk.data / "hosts").glob("*/host.key")):
        secrets[f"a private key ({path.parent.name})"] = path.read_text().splitlines()[1]
    stack.act(machine, "delete")


def _state(stack: RunningStack, machine: str) -> str:
    return str(stack.call("GET", f"machines/{machine}/")["state"])


def _sign_in(stack: RunningStack) -> str:
    """As alice does in her browser."""
    demo = json.loads((stack.desk.data / "demo.json").read_text())
    alice = next(person for person in demo["accounts"] if person["username"] == "alice")
    jar = http.cookiejar.CookieJar()
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
    address = f"{stack.plan.url}/accounts/login/"
    page = browser.open(address, timeout=30).read().decode()
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
    form = {"login": "alice", "password": alice["password"], "csrfmiddlewaretoken": token[1] if token else ""}
    browser.open(address, urllib.parse.urlencode(form).encode(), timeout=30).read()
    return next(str(cookie.value) for cookie in jar if cookie.name == "sessionid")


def _look_at_console(stack: RunningStack, machine: str) -> str:
    """The ticket that was used."""
    ticket = str(stack.call("POST", f"machines/{machine}/console/", {})["ticket"])
    address = f"{stack.plan.url.replace('http', 'ws')}/ws/console/{machine}/"
    words: Any = ["webxen.console.v1", f"webxen.ticket.{ticket}"]
    with connect(address, subprotocols=words, origin=stack.plan.url) as socket:  # type: ignore[arg-type]
        assert json.loads(socket.recv(timeout=10))["type"] == "hello"
    return ticket


@contextmanager
def _watched(stack: RunningStack) -> Iterator[set[str]]:
    """Collect command line and environment of each process of this stack while it runs."""
    seen: set[str] = set()
    is_over = threading.Event()
    ours = str(stack.desk.data)

    def watch() -> None:
        while not is_over.wait(0.01):
            for folder in Path("/proc").glob("[0-9]*"):
                with suppress(OSError):
                    environ = (folder / "environ").read_text(errors="replace")
                    argv = (folder / "cmdline").read_text(errors="replace")
                    # this process: its parent may have any environment
                    if ours in environ + argv and "tests.chaos" not in argv:
                        seen.update((environ, argv))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        is_over.set()
        watcher.join()


def _places(stack: RunningStack) -> dict[str, str]:
    data = stack.desk.data
    files = [path for path in data.rglob("*") if path.is_file() and not THEIR_PLACES.search(str(path))]
    return {
        "files": "\n".join(f"{path}: {path.read_bytes().decode(errors='replace')}" for path in files),
        "database": _database(stack.database_url),
        "Redis": _redis(stack),
    }


def _database(url: str) -> str:
    rows = []
    with psycopg.connect(url) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        for (table,) in tables:
            if table not in THEIR_TABLES:
                found = connection.execute(f'SELECT t::text FROM "{table}" t').fetchall()  # type: ignore[arg-type]
                rows += [f"{table}: {row!r}" for row in found]
    return "\n".join(rows)


def _redis(stack: RunningStack) -> str:
    told = []
    with stack.redis() as redis:
        for key in redis.scan_iter():
            read = {
                b"string": redis.get,
                b"list": lambda key: redis.lrange(key, 0, -1),
                b"hash": redis.hgetall,
                b"set": redis.smembers,
                b"zset": lambda key: redis.zrange(key, 0, -1),
                b"stream": redis.xrange,
            }[redis.type(key)]
            told.append(f"{key!r}: {read(key)!r}")
    return "\n".join(told)


def _found(secrets: dict[str, str], places: dict[str, str]) -> list[str]:
    assert set(places) == set(WHERE)
    assert all(len(value) >= 16 for value in secrets.values()), secrets.keys()
    return [
        f"{secret} in {place}: {_around(text, value)}"
        for place, text in places.items()
        for secret, value in secrets.items()
        if value in text
    ]


def _around(text: str, value: str) -> str:
    at = text.index(value)
    return repr(text[max(at - 80, 0) : at] + "<here>")


def _teeth(stack: RunningStack) -> list[str]:
    """A canary in each place must be found, to prove that the search works."""
    canary = f"planted-{uuid.uuid4().hex}"
    planted = stack.desk.logs / "planted.log"
    planted.write_text(canary)
    with psycopg.connect(stack.database_url, autocommit=True) as connection, stack.redis() as redis:
        connection.execute("CREATE TABLE planted AS SELECT %s AS it", [canary])
        redis.set("planted", canary)
        with _watched(stack) as seen:
            sleep = ["sleep", "0.5"]
            subprocess.run(sleep, env={"WHERE": str(stack.desk.data), "IT": canary}, check=True, timeout=10)
        places = {**_places(stack), "processes": "\n".join(seen)}
        connection.execute("DROP TABLE planted")
        redis.delete("planted")
    planted.unlink()
    return [f"a canary planted in {place} was not found" for place in WHERE if canary not in places[place]]

"""1000 users who poll their machines while 50 consoles are open: `python -m tests.bench.pollers`.

The whole product with PostgreSQL, Redis and two simulated hosts. Each user has a connection and requests the
list every five seconds: by token from the API (`--list api`), or signed in, the part of the page that a
browser fetches (`--list page`). There is no ETag: answers are `no-store`. Meanwhile domains are destroyed by
hand, one every few seconds. The goal: only answers of 200, a p99 of at most 500 ms, and no answer that shows
a machine as running more than five seconds after it was destroyed.
"""

import argparse
import asyncio
import json
import random
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.bench.quota_race import processor_seconds
from tests.chaos.running_stack import RunningStack, started
from tests.worker.console_bench import wait_for
from worker.xen.xl import Xl

PROJECTS = 10
MACHINES_PER_PROJECT = 2
EVERY_SECONDS = 5.0
DESTROY_EVERY_SECONDS = 4.0
GOAL_P99_SECONDS, GOAL_STATUS_SECONDS = 0.5, 5.0


@dataclass
class Seen:
    """All answers."""

    answers: Counter[str] = field(default_factory=Counter)
    took: list[float] = field(default_factory=list)
    #: machine → when its domain was destroyed
    destroyed: dict[str, float] = field(default_factory=dict)
    #: for each answer that still showed a destroyed domain as running: the time since its destruction
    stale: list[float] = field(default_factory=list)
    console_bytes: int = 0
    consoles_closed: int = 0
    lasted: float = 0.0

    def part(self, share: float) -> float:
        return sorted(self.took)[min(int(len(self.took) * share), len(self.took) - 1)] if self.took else 0.0


@dataclass(frozen=True)
class Plan:
    people: int
    consoles: int
    seconds: float
    list: str


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=1000)
    parser.add_argument("--consoles", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--list", choices=("api", "page"), default="api")
    parser.add_argument("--port", type=int, default=8391)
    given = parser.parse_args(argv)
    plan = Plan(given.people, given.consoles, given.seconds, given.list)
    with (
        tempfile.TemporaryDirectory(prefix="wxlook-", dir="/tmp") as data,
        started(Path(data), given.port) as product,
    ):
        people = _people(product, plan.people)
        machines = _machines(product, people)
        before = processor_seconds(product.pid("web"))
        seen = asyncio.run(_look(product, plan, people, machines))
        worked = processor_seconds(product.pid("web")) - before
    return _show(plan, seen, worked)


def _show(plan: Plan, seen: Seen, worked: float) -> int:
    told = ", ".join(f"{count} x {what}" for what, count in sorted(seen.answers.items()))
    p50, p99, worst = seen.part(0.5), seen.part(0.99), max(seen.took, default=0.0)
    stale = max(seen.stale, default=0.0)
    print(f"{plan.people} people look at the list ({plan.list}), {plan.consoles} consoles: {told}")
    print(
        f"  {sum(seen.answers.values()) / seen.lasted:.0f} answers a second, p50 {p50 * 1000:.0f} ms,"
        f" p99 {p99 * 1000:.0f} ms, slowest {worst * 1000:.0f} ms;"
        f" {worked:.1f} s of processor time in the web server"
    )
    print(
        f"  {len(seen.destroyed)} domains destroyed; the last answer that showed one as running came"
        f" {stale:.1f} s later; consoles: {seen.console_bytes} bytes, {seen.consoles_closed} closed"
    )
    is_right = set(seen.answers) == {"200"} and not seen.consoles_closed
    return 0 if is_right and p99 <= GOAL_P99_SECONDS and stale <= GOAL_STATUS_SECONDS else 1


# --- preparation -------------------------------------------------------------------------------


def _people(product: RunningStack, count: int) -> list[list[dict[str, str]]]:
    argv = [sys.executable, "-m", "tests.bench.pollers_world", str(count), str(PROJECTS)]
    done = subprocess.run(argv, env=product.plan.env, check=True, stdout=subprocess.PIPE)
    found: list[list[dict[str, str]]] = json.loads(done.stdout)
    for number, members in enumerate(found):
        product.tokens[f"p{number}"] = members[0]["token"]
    return found


def _machines(product: RunningStack, people: list[list[dict[str, str]]]) -> dict[str, str]:
    """Create two running machines in each project; return id → project."""
    made = {}
    for number in range(len(people)):
        who = f"p{number}"
        for _ in range(MACHINES_PER_PROJECT):
            wish = {"name": f"m{uuid.uuid4().hex[:8]}", "image": "minimal", "size": "tiny"}
            told = product.call("POST", "requests/", {**wish, "password": "many-look-here-1"}, who=who)
            made[str(told["machine"])] = who

    def all_run() -> bool:
        rows = [row for who in set(made.values()) for row in _rows(product, who)]
        return len(rows) == len(made) and all(row["power"] == "RUNNING" for row in rows)

    wait_for(all_run, "the machines", 300)
    return made


def _rows(product: RunningStack, who: str) -> list[dict[str, Any]]:
    return list(product.call("GET", "machines/", who=who)["results"])


# --- measurement -------------------------------------------------------------------------------


async def _look(
    product: RunningStack, plan: Plan, people: list[list[dict[str, str]]], machines: dict[str, str]
) -> Seen:
    seen, ids, ended = Seen(), list(machines), asyncio.Event()
    opened = [asyncio.Event() for _ in range(plan.consoles)]
    sitting = [
        asyncio.create_task(_sit(product, machine, machines[machine], seen, opened[n], ended))
        for n in range(plan.consoles)
        for machine in [ids[n % len(ids)]]
    ]
    for one in opened:
        await one.wait()
    began = time.monotonic()
    until = began + plan.seconds
    everybody = [person for members in people for person in members]
    looking = [_poll(product.plan.port, plan.list, person, seen, until) for person in everybody]
    await asyncio.gather(*looking, _destroy(product, ids, seen, until))
    seen.lasted = time.monotonic() - began
    ended.set()
    await asyncio.gather(*sitting)
    return seen


async def _poll(port: int, what: str, person: dict[str, str], seen: Seen, until: float) -> None:
    """One user: starts at a random time, then polls every five seconds."""
    if what == "api":
        path, more = "/api/v1/machines/", f"Authorization: Bearer {person['token']}\r\n"
    else:
        path, more = "/machines/", f"Cookie: sessionid={person['session']}\r\nHX-Request: true\r\n"
    ask = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{more}\r\n".encode()
    due = time.monotonic() + random.uniform(0, EVERY_SECONDS)
    line = None
    while due < until:
        await asyncio.sleep(max(due - time.monotonic(), 0))
        began = time.monotonic()
        is_kept = line is not None
        try:
            line = line or await asyncio.open_connection("127.0.0.1", port)
            status, body = await _answer(*line, ask)
        except (OSError, asyncio.IncompleteReadError) as error:
            line = None
            if (
                is_kept
                # the server closed the idle connection: reconnect, as a browser does
            ):
                continue
            status, body = type(error).__name__, b""
        now = time.monotonic()
        seen.answers[status] += 1
        seen.took.append(now - began)
        _note_stale(what, body, seen, now)
        due = max(due + EVERY_SECONDS, now)
    if line is not None:
        line[1].close()


async def _answer(reader: Any, writer: Any, ask: bytes) -> tuple[str, bytes]:
    writer.write(ask)
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        (int(row[15:]) for row in head.lower().split(b"\r\n") if row.startswith(b"content-length:")), None
    )
    assert length is not None, head
    return head[9:12].decode(), await reader.readexactly(length)


def _note_stale(what: str, body: bytes, seen: Seen, now: float) -> None:
    if not body or not seen.destroyed:
        return
    if what == "api":
        running = [row["id"] for row in json.loads(body).get("results", []) if row["power"] == "RUNNING"]
    else:
        rows = body.decode().split("<tr>")
        running = [one for one in seen.destroyed for row in rows if one in row and "Running" in row]
    seen.stale += [now - seen.destroyed[one] for one in running if one in seen.destroyed]


async def _sit(
    product: RunningStack, machine: str, who: str, seen: Seen, opened: asyncio.Event, ended: asyncio.Event
) -> None:
    """One console: types a line now and then, and acknowledges output."""
    seat = await asyncio.to_thread(product.call, "POST", f"machines/{machine}/console/", {}, who=who)
    words: Any = ["webxen.console.v1", f"webxen.ticket.{seat['ticket']}"]
    offset = 0
    async with connect(f"{seat['url']}?offset=0", subprotocols=words, proxy=None) as socket:
        opened.set()
        while not ended.is_set():
            try:
                frame = await asyncio.wait_for(socket.recv(), 2.0)
            except TimeoutError:
                await socket.send(b"\n")
                continue
            except ConnectionClosed:
                seen.consoles_closed += 1
                return
            if isinstance(frame, str):
                word = json.loads(frame)
                offset = {"hello": word.get("offset"), "gap": word.get("to")}.get(word["type"], offset)
                continue
            offset += len(frame)
            seen.console_bytes += len(frame)
            await socket.send(json.dumps({"type": "ack", "offset": offset}))


async def _destroy(product: RunningStack, machines: list[str], seen: Seen, until: float) -> None:
    """Destroy domains by hand, without a job: the portal can learn of it only from observations."""
    for machine in machines[: len(machines) // 2]:
        await asyncio.sleep(DESTROY_EVERY_SECONDS)
        if time.monotonic() > until - GOAL_STATUS_SECONDS:
            return
        if await asyncio.to_thread(_pull_the_plug, product, machine):
            seen.destroyed[machine] = time.monotonic()


def _pull_the_plug(product: RunningStack, machine: str) -> bool:
    for stand_in in product.stand_ins.values():
        xl = Xl(stand_in.xl)
        for domain in xl.domains():
            if domain.uuid == machine:
                xl.destroy(domain.domid)
                return True
    return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

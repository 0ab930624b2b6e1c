"""Live migrations interrupted on real Xen: `python -m tests.chaos.moves_on_xen`, after `make up HOSTS=2`.

A machine of alice's with a counter is migrated by dana; each row injects a fault. A row passes if the portal
settles it by itself within SETTLE_SECONDS (or reports UNKNOWN with evidence), one domain remains, its counter
continues, and no number appears twice on the open console.
"""

import itertools
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab.portal import COUNTER, OPEN, Console, Portal, numbers_in

BREAKING = Path(__file__).with_name("breaking_agent.py")
SERVICE, WHOLE, BROKEN = "/etc/webxen/services/agent", "-m worker.agent.daemon", "/root/breaking_agent.py"
WISH, BROKE = "/run/webxen-break", "/run/webxen-broke"
SETTLE_SECONDS = 60.0
#: a cut connection is detected after 20 s, and stays cut for this long
DARK_SECONDS = 40.0
#: a job without further reports
GIVE_UP_SECONDS = 900.0


@dataclass(frozen=True)
class Row:
    what: str
    #: SOURCE or TARGET, kill or cut, and the failpoint in its worker
    side: str = ""
    wish: str = ""
    #: or: an action from outside, when the progress is at this percentage
    percent: int = 0
    does: str = ""


ROWS = (
    Row("cancel at 50 %", percent=50, does="cancel"),
    Row("relay of the source ended at 10 %", "SOURCE", percent=10, does="cut"),
    Row("LAN dark at 50 %", "SOURCE", percent=50, does="dark"),
    Row("relay of the source ended at 85 %", "SOURCE", percent=85, does="cut"),
    Row("relay of the source ended between ready and GO", "SOURCE", "cut a move is at READY"),
    Row("relay of the target ended after GO", "TARGET", "cut after GO is written down"),
    Row("source killed: xl migrate has begun", "SOURCE", "kill xl migrate has begun"),
    Row("source killed: first byte", "SOURCE", "kill a move is at STREAM"),
    Row("source killed: target is ready", "SOURCE", "kill a move is at READY"),
    Row("source killed: before GO is written down", "SOURCE", "kill before GO is written down"),
    Row("source killed: after GO is written down", "SOURCE", "kill after GO is written down"),
    Row("source killed: concludes", "SOURCE", "kill the source concludes"),
    Row("target killed: xl migrate-receive has begun", "TARGET", "kill xl migrate-receive has begun"),
    Row("target killed: first byte", "TARGET", "kill a move is at STREAM"),
    Row("target killed: it is ready", "TARGET", "kill a move is at READY"),
    Row("target killed: before GO is written down", "TARGET", "kill before GO is written down"),
    Row("target killed: after GO is written down", "TARGET", "kill after GO is written down"),
    Row("target killed: concludes", "TARGET", "kill the target concludes"),
)


@dataclass
class Outcome:
    status: str
    verdict: str
    why: str
    seconds: float
    wrong: list[str]


class RunningStack:
    """The portal, and hosts on which faults can be injected."""

    def __init__(self, portal: Portal) -> None:
        self.portal, self.xen = portal, portal.xen
        self.machine = ""

    def prepare(self) -> None:
        for name, host in self.xen.hosts.items():
            host.put_bytes(BREAKING.read_bytes(), "/root/breaking_agent.py")
            self.xen.run(name, "sed", "-i", f"s#{WHOLE}#{BROKEN}#", SERVICE)
            self.xen.run(name, "webxen-services", "restart")

    def mend(self) -> None:
        for name in self.xen.hosts:
            self.xen.run(name, "rm", "-f", WISH)
            self.xen.run(name, "sed", "-i", f"s#{BROKEN}#{WHOLE}#", SERVICE)
            self.xen.run(name, "webxen-services", "restart")

    @contextmanager
    def counting(self) -> Iterator[Console]:
        """alice's console with the counter running; a missing or stopped machine is created again."""
        if not self.machine or self.xen.power(self.machine) != "RUNNING":
            self.machine = self.portal.create(size="tiny")
        with self.portal.alice.console(self.machine) as console:
            console.read(10)
            if not numbers_in(console.text):
                console.log_in()
                console.types(COUNTER)
            console.until(b"CNT ", after=len(console.text))
            yield console

    def service(self, host: str, name: str) -> str:
        return self.xen.hosts[host].service_status()[name].split()[-1]

    def run(self, row: Row) -> Outcome:
        with self.counting() as console:
            (source,) = self.xen.where(self.machine)
            (target,) = set(self.xen.hosts) - {source}
            side = source if row.side == "SOURCE" else target
            for host in (source, target):
                self.xen.run(host, "rm", "-f", WISH, BROKE)
            if row.wish:
                self.xen.hosts[side].put_bytes(row.wish.encode(), WISH)
            relay = self.service(side, "relay")
            job = self.portal.dana.call("POST", f"machines/{self.machine}/migrate/", host=target)
            broke = 0.0
            until = time.monotonic() + GIVE_UP_SECONDS
            while job["status"] in OPEN and time.monotonic() < until:
                console.read(0.3)
                job = self.portal.dana.call("GET", f"jobs/{job['id']}/")
                if row.does and not broke and job["progress"] >= row.percent:
                    broke = time.time()
                    self._break(row, side, relay, job["id"])
            ended = time.time()
            if row.does == "dark":
                time.sleep(max(0.0, broke + DARK_SECONDS - time.time()))
                self.xen.run(side, "ip", "link", "set", "eth1", "up")
            if row.wish:
                said = self.xen.hosts[side].run(["cat", BROKE], timeout_seconds=60)
                broke = float(said.text) if said.rc == 0 else 0.0
            return self._judge(job, console, broke, ended)

    def _break(self, row: Row, side: str, relay: str, job_id: str) -> None:
        if row.does == "cancel":
            self.portal.dana.call("POST", f"jobs/{job_id}/cancel/")
        elif row.does == "cut":
            self.xen.run(side, "kill", "-9", relay)
        else:
            self.xen.run(side, "ip", "link", "set", "eth1", "down")

    def _judge(self, job: dict[str, Any], console: Console, broke: float, ended: float) -> Outcome:
        move = job["migration"] or {}
        wrong = [] if broke else ["the point was never reached"]
        if job["status"] in OPEN:
            wrong.append("it never ended")
        where = self._settled_places()
        running = [host for host, state in where.items() if set(state) <= set("rb")]
        if job["status"] != "UNKNOWN" and (len(where), len(running)) != (1, 1):
            wrong.append(f"xl list has {where}")
        if len(running) > 1:
            wrong.append(f"IT RUNS TWICE: {where}")
        seen = len(numbers_in(console.text))
        console.read(4)
        until = time.monotonic() + 30
        while running and len(numbers_in(console.text)) <= seen and time.monotonic() < until:
            console.read(1)
        numbers = numbers_in(console.text)
        # the first output of this console may be incomplete
        numbers = numbers[numbers.index(1) :] if 1 in numbers else numbers
        if len(set(numbers)) != len(numbers):
            wrong.append("a number was printed twice")
        if running and len(numbers) <= seen:
            wrong.append("it does not count on")
        if numbers and numbers != list(range(numbers[0], numbers[0] + len(numbers))):
            gaps = [(one, other) for one, other in itertools.pairwise(numbers) if other != one + 1]
            wrong.append(f"(numbers are missing on the console: {gaps})")
        seconds = ended - broke if broke else float("nan")
        if seconds > SETTLE_SECONDS:
            wrong.append(f"settled after {seconds:.0f} s")
        if running and (held := self.portal.alice.machine(self.machine)["host"]) != running[0]:
            wrong.append(f"the page says {held}")
        return Outcome(job["status"], move.get("verdict", ""), move.get("why", ""), seconds, wrong)

    def _settled_places(self) -> dict[str, str]:
        """Return where it is, once no migration is in progress; the reconciliation may take a while."""
        until = time.monotonic() + 60
        while True:
            where = self.xen.where(self.machine)
            if len(where) == 1 or time.monotonic() > until:
                return where
            time.sleep(2)


def main() -> int:
    wanted = sys.argv[1:]
    stack = RunningStack(Portal(Path(os.environ.get("WEBXEN_DATA", ".webxen"))))
    rows = [row for row in ROWS if not wanted or any(word in row.what for word in wanted)]
    failed = 0
    stack.prepare()
    print(f"{'a live move on real Xen':<50} {'job':<10} {'verdict':<8} {'settled, s':>10}  wrong")
    try:
        for row in rows:
            one = stack.run(row)
            failed += any(not said.startswith("(") for said in one.wrong)
            said = "; ".join(one.wrong) or "nothing"
            print(
                f"{row.what:<50} {one.status:<10} {one.verdict:<8} {one.seconds:>10.1f}  {said}", flush=True
            )
            print(f"{'':<50} {one.why}", flush=True)
    finally:
        stack.mend()
        if stack.machine and stack.xen.power(stack.machine) == "RUNNING":
            stack.portal.act("poweroff", stack.machine)
            stack.portal.delete(stack.machine)
    print(f"{len(rows) - failed} of {len(rows)} rows held")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())

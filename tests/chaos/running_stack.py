"""A complete WebXen for fault tests: portal, PostgreSQL, Redis and two hosts with the stand-in xl.

Starts it, sends requests as alice, waits until it is idle, and checks the five promises. `faults` has the
faults.
"""

import argparse
import contextlib
import io
import json
import os
import signal
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import redis

from devtools.fakexl import StandIn, overlaps
from devtools.lab import portal
from devtools.lab.processes import Desk
from tests import over_postgres
from tests.worker.console_bench import wait_for
from worker.xen.xl import Xl

HOSTS = 2
OPEN = ("PENDING", "QUEUED", "RUNNING")
#: time limit after a fault until everything must have ended: resend, reconcile and the slowest job
SETTLE_SECONDS = 150.0


class Refused(Exception):
    """The portal refused the request."""

    def __init__(self, status: int, answer: str, headers: Mapping[str, str]) -> None:
        super().__init__(f"{status} {answer[:300]}")
        self.status, self.headers = status, headers


class Parts(Desk):
    """Starts programs and can start them again, as systemd would."""

    known: ClassVar[dict[str, tuple[Sequence[str], Mapping[str, str]]]] = {}

    def start(self, name: str, argv: Sequence[str], env: Mapping[str, str]) -> bool:
        self.known[name] = (argv, env)
        return super().start(name, argv, env)

    def revive(self) -> None:
        for name, (argv, env) in self.known.items():
            self.start(name, argv, env)

    def add_to_env(self, name: str, more: Mapping[str, str]) -> None:
        """Applies from its next start on."""
        argv, env = self.known[name]
        self.known[name] = (argv, {**env, **more})


class RunningStack:
    """The running product and the operations of the tests on it."""

    def __init__(self, data: Path, port: int, database_url: str) -> None:
        self.desk = Parts(data)
        self.plan = portal.Plan(self.desk, "fake", HOSTS, port)
        self.database_url = database_url
        os.environ["WEBXEN_DATA"] = str(data)
        os.environ["WEBXEN_DATABASE_URL"] = database_url

    # --- its parts -----------------------------------------------------------------------------

    def up(self) -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            portal.up(self.plan)
        demo = json.loads((self.desk.data / "demo.json").read_text())
        self.tokens = {person["username"]: person["token"] for person in demo["accounts"]}
        self.stand_ins = {
            name: StandIn(self.desk.data / "hosts" / name / "xl") for name in self.plan.host_names
        }

    def down(self) -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            portal.down(self.plan)

    def pid(self, name: str) -> int:
        return int(json.loads((self.desk.run / f"{name}.json").read_text())["pid"])

    def services(self, host: str) -> list[str]:
        return [name for name in self.desk.names() if name.startswith(f"{host}-")]

    def hit(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a process and all its children."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid(name), number)

    def kill(self, *names: str) -> None:
        for name in names:
            self.hit(name, signal.SIGKILL)

    def restart(self, *names: str) -> None:
        """Restart a killed process, as systemd does."""
        self.kill(*names)
        wait_for(lambda: not any(self.desk.is_running(name) for name in names), "the end of the parts")
        self.revive()

    def revive(self) -> None:
        """Start everything that does not run, until it keeps running."""

        def is_up() -> bool:
            self.desk.revive()
            with contextlib.suppress(OSError, Refused):
                return bool(self.call("GET", "me/"))
            return False

        wait_for(is_up, "the portal", 60)

    def shift_clock(self, name: str, seconds: int) -> None:
        """From its next start on, set this process's clock ahead by these seconds; monotonic time is
        unchanged.
        """
        path = os.pathsep.join([str(Path(__file__).parent / "wrong_clock"), str(portal.ROOT)])
        self.desk.add_to_env(name, {"PYTHONPATH": path, "WRONG_CLOCK_SECONDS": str(seconds)})

    def redis(self, **options: Any) -> Any:
        folder = self.desk.data / "broker"
        password = (folder / "portal.password").read_text().strip()
        return redis.Redis(
            unix_socket_path=str(folder / "redis.sock"),
            username="portal",
            password=password,
            protocol=2,
            **options,
        )

    # --- requests ------------------------------------------------------------------------------

    def call(self, method: str, path: str, body: Any = None, *, who: str = "alice") -> Any:
        request = urllib.request.Request(
            f"{self.plan.url}/api/v1/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {self.tokens[who]}",
                "Content-Type": "application/json",
                "Idempotency-Key": str(uuid.uuid4()),
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise Refused(error.code, error.read().decode(errors="replace"), error.headers) from None

    def create(self, count: int) -> list[str]:
        """Request machines; return their ids."""
        made = []
        for _ in range(count):
            name = f"m{uuid.uuid4().hex[:8]}"
            wish = {
                "name": name,
                "image": "minimal",
                "size": "tiny",
                "password": "chaos-reigns-1",
                "reason": "x",
            }
            made.append(str(self.call("POST", "requests/", wish)["machine"]))
        return made

    def withdraw_requests(self) -> None:
        """Withdraw pending requests."""
        for request in self.call("GET", "requests/?status=PENDING&limit=200")["results"]:
            self.call("POST", f"requests/{request['id']}/withdraw/", {})

    def act(self, machine: str, verb: str) -> None:
        if verb == "delete":
            self.call("DELETE", f"machines/{machine}/")
        else:
            self.call("POST", f"machines/{machine}/{verb}/", {})

    def machines(self) -> list[dict[str, Any]]:
        return list(self.call("GET", "machines/?limit=200")["results"])

    def open_jobs(self) -> list[dict[str, Any]]:
        found = []
        for status in OPEN:
            found += self.call("GET", f"jobs/?status={status}")["results"]
        return found

    # --- checks --------------------------------------------------------------------------------

    def settle(self) -> float:
        """Return the seconds until every job had ended and the portal agreed with the hosts, or the limit."""
        started = time.monotonic()
        while time.monotonic() - started < SETTLE_SECONDS:
            with contextlib.suppress(OSError, Refused):
                if not self.open_jobs() and not self._differences():
                    break
            time.sleep(0.5)
        return time.monotonic() - started

    def violations(self) -> list[str]:
        """Return the violated promises, once it is idle."""
        wrong = [f"I4: {job['kind']} is still {job['status']}" for job in self.open_jobs()]
        folders = [stand_in.directory / "running.jsonl" for stand_in in self.stand_ins.values()]
        wrong += [f"I1: {found.uuid} ran twice" for found in overlaps(folders)]
        return wrong + self._disks() + self._quota() + self._differences()

    def _disks(self) -> list[str]:
        """I2: no disk is missing, and none is left over."""
        there = {}
        for name in self.plan.host_names:
            for path in (self.desk.data / "hosts" / name / "state" / "disks").glob("*/*"):
                there[path.parent.name] = name
                if path.suffix != ".img":
                    return [f"I2: {path.name} was left behind"]
        ready = {row["id"]: row["host"] for row in self.machines() if row["state"] == "READY"}
        half_deleted = self._half_deleted()
        wrong = [f"I2: the disk of {one} is missing" for one in ready if there.get(one) != ready[one]]
        return wrong + [
            f"I2: {name} has a disk of {one}, which is nobody's"
            for one, name in there.items()
            if one not in ready and one not in half_deleted
        ]

    def _half_deleted(self) -> set[str]:
        """Machines whose delete failed on the host after they existed: they still have all their disks."""
        found = set()
        for row in self.machines():
            if row["state"] == "FAILED":
                jobs = self.call("GET", f"jobs/?machine={row['id']}")["results"]
                is_built = any((job["kind"], job["status"]) == ("CREATE", "SUCCEEDED") for job in jobs)
                if is_built and (jobs[0]["kind"], jobs[0]["status"]) == ("DELETE", "FAILED"):
                    found.add(row["id"])
        return found

    def _quota(self) -> list[str]:
        """I3: reservations equal what exists, and do not exceed the limits."""
        quota = self.call("GET", "me/")["projects"][0]["quota"]
        held = Counter[str]()
        half_deleted = self._half_deleted()
        for row in self.machines():
            if row["state"] in ("READY", "PENDING", "BUILDING", "DELETING") or row["id"] in half_deleted:
                held.update(machines=1, vcpus=row["vcpus"], memory_mib=row["memory_mib"])
        return [
            f"I3: {name}: {quota[name]}, but {held[name]} held"
            for name in ("machines", "vcpus", "memory_mib")
            if quota[name]["used"] + quota[name]["reserved"] != held[name]
            or held[name] > quota[name]["limit"]
        ]

    def _differences(self) -> list[str]:
        """I5: the database agrees with the host about every machine."""
        seen: dict[str, tuple[str, str]] = {}
        for name, stand_in in self.stand_ins.items():
            for domain in Xl(stand_in.xl).domains():
                seen[domain.uuid] = (name, domain.power)
        wrong = []
        for row in self.machines():
            host, power = seen.pop(row["id"], (row["host"], "OFF"))
            if row["state"] == "READY" and (row["host"], row["power"]) != (host, power):
                wrong.append(
                    f"I5: {row['name']} is {row['power']} on {row['host']}, its host says {power} on {host}"
                )
        return wrong + [f"I5: domain {one} on {name[0]} is nobody's" for one, name in seen.items()]


@contextmanager
def started(data: Path, port: int) -> Iterator[RunningStack]:
    with over_postgres.started() as url:
        stack = RunningStack(data, port, url)
        try:
            stack.up()
            yield stack
        finally:
            stack.down()


def main() -> int:
    """Start a stack and wait, for exploring by hand."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    with started(parser.parse_args().data.resolve(), 8390) as stack:
        print(stack.plan.url, stack.tokens)
        signal.pause()
    return 0


if __name__ == "__main__":
    sys.exit(main())

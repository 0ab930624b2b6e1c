"""`python -m devtools.lab.portal up|down|status`: the portal with a Xen lab or the stand-in xl.

Starts the parts in order, prints how long each step took, and writes the address and demo accounts to
DATA/demo.json. The portal is only started as programs and never imported.
"""

import argparse
import json
import os
import secrets
import shlex
import signal
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from devtools.lab import broker, hosts
from devtools.lab.paths import LabError
from devtools.lab.processes import Desk, NotReady, keep_secret, read_or_make
from worker import shell

ROOT = Path(__file__).resolve().parent.parent.parent


class Trouble(Exception):
    """Something is missing or did not start; the text names the cure."""


@dataclass
class Plan:
    """What to run."""

    desk: Desk
    dom0: str
    host_count: int
    port: int
    env: dict[str, str] = field(default_factory=dict)

    @property
    def host_names(self) -> list[str]:
        # different from a real host's name, because one database may hold both
        name = "fake" if self.dom0 == "fake" else "xen"
        return [f"{name}{number}" for number in range(1, self.host_count + 1)]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def step(what: str) -> Iterator[None]:
    """Print what is done and how long it took."""
    started = time.monotonic()
    print(f"  … {what}", flush=True)
    yield
    print(f"  ✓ {what}  {time.monotonic() - started:.1f} s", flush=True)


def up(plan: Plan) -> None:
    """Start everything that does not run yet, and what runs with older code.

    Raises Trouble, NotReady, LabError, NoBroker, CommandFailed.
    """
    started = time.monotonic()
    print(f"WebXen on {plan.url}, " + ("stand-in xl" if plan.dom0 == "fake" else "real Xen in QEMU"))
    plan.desk.make()
    plan.desk.find_forgotten()
    if outdated := plan.desk.stop_outdated():
        print(f"  stopped, because the code has changed: {', '.join(outdated)}", flush=True)
    _refuse_foreign_port(plan)
    ground = _prepare_ground(plan)
    lab = _Background(lambda: hosts.prepare(plan.dom0, plan.desk, plan.host_names))
    lab.start()
    with step("broker"):
        _start_broker(plan)
    with step("database"):
        _manage(plan, "prepare_desk", "--public-out", str(plan.desk.data / "portal.pub"))
    with step("web, reports, clock, beat"):
        _start_portal(plan)
    with step(f"hosts ({', '.join(plan.host_names)})"):
        found = lab.result()
    with step("accounts, images, workers"):
        # a worker may send its first observation before the web server answers
        since = _join_hosts(plan, ground, found)
        plan.desk.wait("the web server", "web", lambda: _answers(plan.url), 60)
    with step("first word from every host"):
        _wait_for_hosts(plan, since)
    _print_end(plan, time.monotonic() - started)


def down(plan: Plan) -> None:
    """Stop what `up` started. Disks and the database are kept."""
    plan.desk.find_forgotten()
    order = ["web", "beat", "clock", "reports"]
    rest = [name for name in plan.desk.names() if name not in (*order, "broker")]
    for name in (*order, *rest):
        plan.desk.stop(name)
    hosts.leave(plan.desk)
    plan.desk.stop("broker")


class _Background(threading.Thread):
    """Starts the hosts, which takes longest, in parallel. `result` raises their error."""

    def __init__(self, work: Callable[[], list[hosts.Dom0]]) -> None:
        super().__init__(daemon=True)
        self._work = work
        self._found: list[hosts.Dom0] = []
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            self._found = self._work()
        except BaseException as error:  # noqa: BLE001 - handed to the main thread, raised there
            self._error = error

    def result(self) -> list[hosts.Dom0]:
        # join with a limit, so that Ctrl-C is handled
        while self.is_alive():
            self.join(0.2)
        if self._error is not None:
            raise self._error
        return self._found


def _refuse_foreign_port(plan: Plan) -> None:
    if plan.desk.is_running("web"):
        return
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", plan.port))
        except OSError:
            raise Trouble(
                f"port {plan.port} is taken by another program: make up PORT={plan.port + 1}"
            ) from None


def _prepare_ground(plan: Plan) -> broker.Broker:
    secret = plan.desk.data / "secret.key"
    read_or_make(secret, lambda: secrets.token_urlsafe(48))
    ground = broker.prepare(plan.desk, hosts=plan.host_names, port=_kept_port(plan.desk.data / "broker.port"))
    plan.env = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "DJANGO_SETTINGS_MODULE": "webxen.settings",
        "WEBXEN_DATA": str(plan.desk.data),
        "WEBXEN_SECRET_KEY_FILE": str(secret),
        "WEBXEN_PORTAL_KEY_FILE": str(plan.desk.data / "portal.key"),
        "WEBXEN_REDIS_URL_FILE": str(
            keep_secret(plan.desk.data / "broker" / "portal.url", ground.portal_url)
        ),
        "WEBXEN_BROKER_PUBLIC_URL": ground.public_url,
    }
    if plan.dom0 == "fake":
        # all hosts are this machine
        plan.env.setdefault("WEBXEN_RELAY_NETWORKS", "127.0.0.0/8")
    if plan.dom0 == "xen" and len(plan.host_names) > 1:
        # disks on shared storage allow migration of running machines, which is the purpose of a second host
        plan.env.setdefault("WEBXEN_NEW_DISKS", "SHARED")
    _keep_env(plan)
    return ground


def _keep_env(plan: Plan) -> None:
    """Write `.webxen/env` for manual use of `manage.py`. It names files with secrets and holds no secret."""
    path = plan.desk.data / "env"
    names = ("DJANGO_SETTINGS_MODULE", *sorted(name for name in plan.env if name.startswith("WEBXEN_")))
    keep_secret(path, "\n".join(f"export {name}={shlex.quote(plan.env[name])}" for name in names))


def _kept_port(path: Path) -> int:
    """A free loopback port, kept for later starts because a resumed dom0 still uses it."""
    return int(read_or_make(path, _free_port))


def _free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def _start_broker(plan: Plan) -> None:
    path = str(plan.desk.data / "broker" / "redis.sock")
    try:
        plan.desk.start("broker", broker.argv(plan.desk), plan.env)
        plan.desk.wait("the broker", "broker", lambda: _accepts(path), 20)
    except NotReady:
        aside = broker.set_aside_unreadable(plan.desk)
        if aside is None:
            raise
        print(f"    the broker could not read its data, written by another program: now {aside.name}")
        plan.desk.start("broker", broker.argv(plan.desk), plan.env)
        plan.desk.wait("the broker", "broker", lambda: _accepts(path), 20)


def _accepts(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except OSError:
            return False
    return True


def _start_portal(plan: Plan) -> None:
    python = sys.executable
    web = (
        f"{python} -m uvicorn --no-proxy-headers webxen.asgi:application --host 127.0.0.1 --port {plan.port}"
    )
    options = (
        "--http webxen.core.connections:GuardedHttp --ws websockets-sansio --ws-per-message-deflate false"
        " --ws-max-size 65536 --no-access-log"
    )
    celery = [python, "-m", "celery", "-q", "-A", "webxen.celery"]
    plan.desk.start("web", f"{web} {options} --timeout-graceful-shutdown 3".split(), plan.env)
    plan.desk.start("reports", [python, str(ROOT / "manage.py"), "reports"], plan.env)
    quiet = ["--without-mingle", "--without-gossip", "--without-heartbeat", "-n", "clock@portal"]
    plan.desk.start("clock", [*celery, "worker", "-Q", "clock", "-l", "INFO", *quiet], plan.env)
    schedule = str(plan.desk.data / "beat-schedule")
    plan.desk.start("beat", [*celery, "beat", "-s", schedule, "-l", "INFO", "--pidfile="], plan.env)


def _join_hosts(plan: Plan, ground: broker.Broker, found: list[hosts.Dom0]) -> dict[str, str]:
    """Register the hosts and start their workers. Returns the time (ISO 8601) of each worker's start."""
    images = plan.desk.data / "images.json"
    images.write_text(json.dumps(found[0].images))
    words = ["--images", str(images), "--out", str(plan.desk.data / "people.json")]
    for host in found:
        words += ["--host", host.name, str(host.public_key_file)]
    _manage(plan, "prepare_desk", *words)
    portal_key = (plan.desk.data / "portal.pub").read_text()
    since = {
        host.name: host.start_worker(
            ground.host_url(host.name, host.broker_address), portal_key, plan.env
        ).isoformat()
        for host in found
    }
    people = json.loads((plan.desk.data / "people.json").read_text())
    demo = {
        "url": plan.url,
        "accounts": people["accounts"],
        "hosts": [{"name": host.name, "ssh": host.ssh} for host in found],
    }
    keep_secret(plan.desk.data / "demo.json", json.dumps(demo, indent=2))
    return since


def _manage(plan: Plan, *words: str) -> shell.Result:
    argv = [sys.executable, str(ROOT / "manage.py"), *words]
    # on a slow machine the migrations of a new database take a minute, and a call that was killed may hold
    # the lock
    return shell.run(argv, timeout_seconds=600, env=plan.env, check=True)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/accounts/login/", timeout=5) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _wait_for_hosts(plan: Plan, since: dict[str, str]) -> None:
    """Wait until every host sent an observation after its time in `since` (ISO 8601)."""
    staff = next(p for p in _demo(plan)["accounts"] if p["staff"])
    if not staff["token"]:
        print(f"    not asked: the token of {staff['username']} was revoked")
        return
    request = urllib.request.Request(  # noqa: S310 - our own loopback address
        f"{plan.url}/api/v1/hosts/", headers={"Authorization": f"Bearer {staff['token']}"}
    )

    def are_heard() -> bool:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            seen = {row["name"]: row for row in json.load(answer)["results"]}
        return all((seen.get(name, {}).get("observed_at") or "") > at for name, at in since.items())

    plan.desk.wait("a host's worker", "web", are_heard, 90)


def _demo(plan: Plan) -> dict[str, list[dict[str, str]]]:
    demo: dict[str, list[dict[str, str]]] = json.loads((plan.desk.data / "demo.json").read_text())
    return demo


def _print_end(plan: Plan, seconds: float) -> None:
    print(f"\nReady after {seconds:.1f} s: {plan.url}\n")
    for person in _demo(plan)["accounts"]:
        role = "runs the hosts" if person["staff"] else "wants machines"
        password = f"password {person['password']}" if person["password"] else "with the password you chose"
        print(f"  {person['username']:<6} {password}   ({role})")
    for host in _demo(plan)["hosts"]:
        print(f"  {host['name']:<6} {host['ssh'] or 'the stand-in xl, as no Xen was wanted'}")
    print("\n  tokens: .webxen/demo.json      logs: .webxen/logs/      stop: make down")
    print("  manage.py by hand: . .webxen/env && .venv/bin/python manage.py verify\n", flush=True)


def _stay(plan: Plan) -> None:
    """In a terminal Ctrl-C stops everything; otherwise the parts continue alone."""
    print("  Ctrl-C stops everything.", flush=True)
    signal.sigwait({signal.SIGINT, signal.SIGTERM})
    print("\n  stopping …", flush=True)
    down(plan)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m devtools.lab.portal")
    parser.add_argument("what", choices=("up", "down", "status"))
    parser.add_argument("--dom0", choices=("xen", "fake"), default=os.environ.get("DOM0") or "xen")
    parser.add_argument("--hosts", type=int, default=int(os.environ.get("HOSTS") or 1))
    parser.add_argument("--port", type=int, default=int(os.environ.get("PORT") or 8000))
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("WEBXEN_DATA") or ".webxen"))
    parser.add_argument("--detach", action="store_true", help="return when it is ready")
    chosen = parser.parse_args()
    # the lab and the guests find their folders by it
    os.environ["WEBXEN_DATA"] = str(chosen.data.resolve())
    plan = Plan(Desk(chosen.data.resolve()), chosen.dom0, chosen.hosts, chosen.port)
    try:
        if chosen.what == "down":
            down(plan)
        elif chosen.what == "status":
            for name in plan.desk.names():
                print(f"{name:<16} {'running' if plan.desk.is_running(name) else 'ended'}")
        else:
            _up_or_undo(plan, is_staying=sys.stdout.isatty() and not chosen.detach)
    except (
        Trouble,
        NotReady,
        LabError,
        broker.NoBroker,
        shell.CommandFailed,
        shell.CommandTimedOut,
    ) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    return 0


def _up_or_undo(plan: Plan, *, is_staying: bool) -> None:
    try:
        up(plan)
        if is_staying:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
            _stay(plan)
    except KeyboardInterrupt:
        print("\n  stopping …", flush=True)
        down(plan)


if __name__ == "__main__":
    sys.exit(main())

"""Restore of a backup while hosts continued: `python -m tests.chaos.restore [--database sqlite|postgres]`.

m1 and m2 are in the backup; then m3 is created, m2 deleted, m1 rebooted and a token revoked. The restored
portal must detect this by itself, give no orders, allocate no address twice, advise nothing destructive, and
allow a recovery without loss. Prints each step; a deviation ends it with status 1.
"""

import argparse
import contextlib
import re
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from devtools.lab import portal
from tests import over_postgres
from tests.chaos.running_stack import Refused, RunningStack
from tests.worker.console_bench import wait_for

PORTAL = ("web", "beat", "clock", "reports")
DESTROYING = re.compile(r"\brm\b|lvremove|xl destroy|remove the folder")
#: hosts report every ten seconds
NOTICE_SECONDS = 60


class Story:
    """The running product, and the deviations found."""

    def __init__(self, stack: RunningStack) -> None:
        self.stack = stack
        self.wrong: list[str] = []

    def tell(self, what: str) -> None:
        print(f"\n=== {what}", flush=True)

    def expect(self, what: str, is_so: bool) -> None:
        print(f"  {'ok   ' if is_so else 'WRONG'} {what}", flush=True)
        if not is_so:
            self.wrong.append(what)

    def manage(self, *words: str) -> tuple[int, str]:
        """Run manage.py; return its exit status and output."""
        done = subprocess.run(
            [sys.executable, str(portal.ROOT / "manage.py"), *words],
            env=self.stack.plan.env,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        print(f"$ manage.py {' '.join(words)}")
        print("\n".join(f"    {line}" for line in done.stdout.splitlines()), flush=True)
        return done.returncode, done.stdout + done.stderr

    def token(self, username: str) -> str:
        """Create a token as its user would, without a browser."""
        code = (
            "from webxen.accounts import operations; from webxen.accounts.models import User;"
            "from webxen.core import clock;"
            f"u = User.objects.get(username={username!r});"
            "print(operations.create_token(user=u, name='story', expires_at=None, now=clock.now())[1])"
        )
        done = subprocess.run(
            [sys.executable, str(portal.ROOT / "manage.py"), "shell", "--no-imports", "-c", code],
            env=self.stack.plan.env,
            capture_output=True,
            text=True,
            timeout=300,
            check=True,
        )
        return done.stdout.split()[-1]

    def refused(self, call: Callable[[], Any]) -> str:
        """Return the error of a call as text; "" if it succeeded."""
        try:
            call()
        except Refused as refused:
            return str(refused)
        return ""

    # --- machines --------------------------------------------------------------------------------

    def ask_for(self, name: str) -> dict[str, Any]:
        wish = {"name": name, "image": "minimal", "size": "tiny", "password": "chaos-reigns-1", "reason": "x"}
        return dict(self.stack.call("POST", "requests/", wish))

    def machine(self, name: str) -> dict[str, Any]:
        return next((row for row in self.stack.machines() if row["name"] == name), {})

    def make(self, name: str) -> dict[str, Any]:
        self.ask_for(name)
        wait_for(lambda: self.machine(name).get("power") == "RUNNING", f"{name} to run", 180)
        return self.machine(name)

    def config(self, machine_id: str) -> str:
        """Return the machine's configuration from the host that has it."""
        found = (self.stack.desk.data / "hosts").glob(f"*/state/machines/{machine_id}/machine.cfg")
        return "".join(path.read_text() for path in found)

    def address(self, machine_id: str) -> str:
        found = re.search(r"ip=([\d.]+)", self.config(machine_id))
        return found[1] if found else ""

    def disks(self) -> set[str]:
        found = (self.stack.desk.data / "hosts").glob("*/state/disks/*/*.img")
        return {f"{path.parent.name}/{path.name}" for path in found}

    def domains(self) -> set[str]:
        return {
            f"{name} {line.split()[0]} {line.split()[-1]}"
            for name, stand_in in self.stack.stand_ins.items()
            for line in subprocess.run(
                [stand_in.xl, "list", "-v"], capture_output=True, text=True, check=True
            ).stdout.splitlines()[2:]
        }


# --- the two databases ---------------------------------------------------------------------------


def _programs() -> Path:
    return over_postgres.find_programs()


def save(url: str, backup: Path) -> None:
    """Make a backup as described in docs/operating.md, while the portal runs."""
    if url.startswith("sqlite"):
        path = url.removeprefix("sqlite://")
        with (
            contextlib.closing(sqlite3.connect(path)) as source,
            contextlib.closing(sqlite3.connect(backup)) as copy,
        ):
            source.backup(copy)
        return
    subprocess.run([f"{_programs()}/pg_dump", "-Fc", "-f", str(backup), url], check=True)


def restore(url: str, backup: Path) -> None:
    """Restore it; the portal is stopped."""
    if url.startswith("sqlite"):
        path = Path(url.removeprefix("sqlite://"))
        for ending in ("", "-wal", "-shm"):
            path.with_name(path.name + ending).unlink(missing_ok=True)
        path.write_bytes(backup.read_bytes())
        return
    drop = "DROP SCHEMA public CASCADE; CREATE SCHEMA public"
    subprocess.run([f"{_programs()}/psql", "-q", url, "-c", drop], check=True, capture_output=True)
    subprocess.run([f"{_programs()}/pg_restore", "-d", url, str(backup)], check=True)


# --- the steps -----------------------------------------------------------------------------------


def play(story: Story, backup: Path) -> None:
    before, m3 = _until_the_backup_is_restored(story, backup)
    _the_portal_notices(story, m3)
    _nothing_is_ordered(story, before)
    _the_way_back(story, m3)
    _as_before(story, before, m3)


def _until_the_backup_is_restored(story: Story, backup: Path) -> tuple[set[str], dict[str, Any]]:
    stack = story.stack
    story.tell("m1 and m2 are made, and a backup")
    m1, m2 = story.make("m1"), story.make("m2")
    revoked = story.token("bob")
    stack.tokens["revoked"] = revoked
    save(stack.database_url, backup)
    print(f"  {backup.stat().st_size} bytes")
    story.tell("then m3 is made, m2 deleted, m1 rebooted, a token of bob's revoked")
    m3 = story.make("m3")
    stack.act(m2["id"], "delete")
    stack.act(m1["id"], "reboot")
    wait_for(lambda: not stack.open_jobs(), "the jobs' ends", 120)
    token = next(
        one for one in stack.call("GET", "tokens/", who="revoked")["results"] if one["name"] == "story"
    )
    with contextlib.suppress(ValueError):  # answers without a body
        stack.call("DELETE", f"tokens/{token['id']}/", who="bob")
    story.expect(
        "the token is revoked", "401" in story.refused(lambda: stack.call("GET", "me/", who="revoked"))
    )
    story.expect("m3 has an address", bool(story.address(m3["id"])))
    before = story.domains() | story.disks()
    story.tell("the portal is stopped, the backup restored, the portal started; no command is run")
    for name in PORTAL:
        stack.desk.stop(name)
    restore(stack.database_url, backup)
    stack.revive()
    return before, m3


def _the_portal_notices(story: Story, m3: dict[str, Any]) -> None:
    began = time.monotonic()
    held = lambda: story.stack.call("GET", "restore/", who="dana")  # noqa: E731
    wait_for(lambda: held()["is_held"], "the portal to notice", NOTICE_SECONDS)
    story.tell(f"noticed {time.monotonic() - began:.1f} s after its start: {held()['why']}")
    wait_for(lambda: m3["id"] in held()["missing"], "m3 to be missed", NOTICE_SECONDS)
    status, said = story.manage("verify")
    story.expect("verify ends with 1", status == 1)
    for code in ("DATABASE_OLDER", "MACHINE_MISSING_HERE", "MACHINE_DELETED_SINCE", "FENCE_BEHIND"):
        story.expect(f"verify says {code}", code in said)
    story.expect(
        "m3 was made by this portal", "m3 of alice in" in said and "created by this portal on" in said
    )
    story.expect("the cure is readopt", f"manage.py readopt {m3['id']}" in said)
    story.expect("no command destroys", not DESTROYING.search(said))
    story.expect("m3 is no stranger's", not {"DOMAIN_UNKNOWN", "VOLUME_ORPHAN"} & set(said.split()))


def _nothing_is_ordered(story: Story, before: set[str]) -> None:
    stack = story.stack
    story.tell("until staff has looked, nothing is ordered")
    m1 = story.machine("m1")
    for verb in ("reboot", "shutdown", "poweroff", "delete"):
        said = story.refused(lambda verb=verb: stack.act(m1["id"], verb))  # type: ignore[misc]
        story.expect(f"{verb} is refused: RESTORED", "409" in said and "RESTORED" in said)
    waiting = story.ask_for("m4")
    print(f"  m4: {waiting['status']}: {waiting.get('why_pending')}")
    story.expect("a request waits", waiting["status"] == "PENDING" and waiting["machine"] is None)
    time.sleep(12)  # two rounds of the sweep, one observation of each host
    story.expect("no domain and no disk has changed", story.domains() | story.disks() == before)
    story.tell("the first thing to do: sessions and tokens, as some were revoked since")
    alive = story.refused(lambda: stack.call("GET", "me/", who="revoked"))
    story.expect("the revoked token is good again", alive == "")
    status, _ = story.manage("after_restore", "--staff", "dana")
    story.expect("after_restore ends with 0", status == 0)
    story.expect("and no more", "401" in story.refused(lambda: stack.call("GET", "me/", who="revoked")))
    for name in ("alice", "dana"):
        stack.tokens[name] = story.token(name)


def _the_way_back(story: Story, m3: dict[str, Any]) -> None:
    stack = story.stack
    story.tell("the way back")
    status, _ = story.manage("readopt", "--all", "--staff", "dana")
    story.expect("readopt ends with 0", status == 0)
    back = story.machine("m3")
    same = ("id", "vcpus", "memory_mib", "host", "state", "power")
    story.expect("m3 is as it was", [back.get(key) for key in same] == [m3[key] for key in same])
    story.manage("verify", "--fix", "--staff", "dana")
    status, _ = story.manage("end_restore", "--staff", "dana")
    story.expect("end_restore ends with 0", status == 0)
    waiting = stack.call("GET", "requests/?limit=50", who="dana")["results"]
    m4 = next(one for one in waiting if one["name"] == "m4")
    stack.call("POST", f"requests/{m4['id']}/approve/", {}, who="dana")
    wait_for(lambda: story.machine("m4").get("power") == "RUNNING", "m4 to run", 180)


def _as_before(story: Story, before: set[str], m3: dict[str, Any]) -> None:
    stack = story.stack
    story.tell("and everything is as it should be")
    m4 = story.machine("m4")
    story.expect(
        f"m3 has {story.address(m3['id'])}, m4 has {story.address(m4['id'])}",
        "" != story.address(m3["id"]) != story.address(m4["id"]),
    )
    story.expect("no domain and no disk is lost", before <= story.domains() | story.disks())
    stack.act(story.machine("m2")["id"], "delete")
    stack.act(story.machine("m1")["id"], "reboot")
    stack.act(m3["id"], "reboot")
    wait_for(lambda: not stack.open_jobs(), "the jobs' ends", 120)
    jobs = stack.call("GET", f"jobs/?machine={m3['id']}")["results"]
    story.expect("m3 obeys", [(job["kind"], job["status"]) for job in jobs] == [("REBOOT", "SUCCEEDED")])
    time.sleep(22)
    _, said = story.manage("verify")
    # each simulated host builds its own copy of the image
    left = set(re.findall(r"^ *[A-Z]+ +([A-Z]+_[A-Z_]+) ", said, re.MULTILINE)) - {"IMAGE_DIFFERS"}
    story.expect(f"verify finds nothing {left or ''}", not left)
    violations = stack.violations()
    story.expect(f"the five promises hold {violations or ''}", not violations)


@contextlib.contextmanager
def _database(kind: str, data: Path) -> Iterator[str]:
    if kind == "sqlite":
        yield f"sqlite://{data}/webxen.sqlite3"
        return
    with over_postgres.started() as url:
        yield url


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.restore")
    parser.add_argument("--database", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--port", type=int, default=8391)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="wxchaos-", dir="/tmp") as folder:
        data = Path(folder) / "data"
        with _database(chosen.database, data) as url:
            stack = RunningStack(data, chosen.port, url)
            story = Story(stack)
            try:
                stack.up()
                play(story, Path(folder) / "backup")
            finally:
                stack.down()
    print("\n".join(["", *story.wrong]) if story.wrong else "\nzero violations")
    return 1 if story.wrong else 0


if __name__ == "__main__":
    sys.exit(main())

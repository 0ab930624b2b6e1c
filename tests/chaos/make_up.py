"""The commands of the README in the hands of a new user: killed, repeated, in any order. Run by hand.

`python -m tests.chaos.make_up kills`: `make up` is killed with all its children at each step it prints, and
called again. `python -m tests.chaos.make_up pairs`: pairs of commands in both orders, with and without a
redis-server of the system, followed by `make up`. Long commands install everything they need and then only
list their tests. Each row ends with a machine that is created over the API, so that "works" means a working
portal.
"""

import argparse
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
UP_SECONDS, LONG_SECONDS = 900, 1800
REDIS = Path("/usr/bin/redis-server")
LISTED = {"PYTEST_ADDOPTS": "--collect-only -q"}
#: command in the README → how it is called here, shortened
COMMANDS: dict[str, tuple[list[str], dict[str, str]]] = {
    "make up": (["up", "DOM0=fake"], {}),
    "make down": (["down"], {}),
    "make test": (["test"], LISTED),
    "make lab-test": (["lab-test"], LISTED),
    "make chaos": (["chaos", "CHAOS=--help"], {}),
}


class Rig:
    """A data folder and port, and the environment in which `make` is called."""

    def __init__(
        self, data: Path, port: int, *, xen: bool = False, hides_redis: bool = False, root: Path = ROOT
    ) -> None:
        self.root = root
        self.data, self.port, self.hides_redis = data, port, hides_redis
        self.up_words = ["up", f"PORT={port}", *([] if xen else ["DOM0=fake"])]
        self.env = {**os.environ, "WEBXEN_DATA": str(data), "PORT": str(port)}

    def argv(self, words: list[str]) -> list[str]:
        argv = ["make", *words]
        if not self.hides_redis:
            return argv
        # in a separate mount namespace the program is an empty file without execute permission
        return ["unshare", "--mount", "sh", "-c", f'mount --bind /dev/null {REDIS} && exec "$@"', "sh", *argv]

    def run(self, words: list[str], *, seconds: float, **env: str) -> tuple[int, str]:
        done = subprocess.run(
            self.argv(words),
            cwd=self.root,
            env={**self.env, **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
            check=False,
        )
        return done.returncode, done.stdout

    def kill_at(self, step: str, *, after_seconds: float) -> bool:
        """Start `make up` and kill it with its children when it begins this step; return False if it had
        ended.
        """
        with subprocess.Popen(
            self.argv(self.up_words),
            cwd=self.root,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as making:
            assert making.stdout is not None
            for line in making.stdout:
                if line.strip() == f"… {step}":
                    time.sleep(after_seconds)
                    os.killpg(making.pid, signal.SIGKILL)
                    making.wait()
                    return True
        return False

    def steps(self) -> list[str]:
        """Return the steps of an undisturbed `make up` in a folder of its own."""
        status, said = self.run(self.up_words, seconds=UP_SECONDS)
        if status:
            raise SystemExit(f"an undisturbed make up failed:\n{said}")
        return [line.strip()[2:] for line in said.splitlines() if line.strip().startswith("… ")]

    def up_again(self) -> str:
        """Return the result of the next `make up`: "works", or what is wrong."""
        status, said = self.run(self.up_words, seconds=UP_SECONDS)
        if status:
            return "FAILED: " + " ".join(said.split())[-300:]
        try:
            return self.create_machine()
        except (OSError, KeyError, ValueError) as error:
            return f"FAILED: {error!r}"

    def create_machine(self) -> str:
        demo = json.loads((self.data / "demo.json").read_text())
        token = next(one["token"] for one in demo["accounts"] if one["username"] == "alice")
        wish = {
            "name": f"m{time.time_ns() // 1000}",
            "image": "minimal",
            "size": "tiny",
            "password": "newcomer1",
        }
        asked = self.ask(token, "requests/", wish)
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            job = self.ask(token, f"jobs/{asked['job']}/?wait=30")
            if job["status"] not in ("PENDING", "QUEUED", "RUNNING"):
                break
        self.ask(token, f"machines/{asked['machine']}/", method="DELETE")
        return (
            "works"
            if job["status"] == "SUCCEEDED"
            else f"FAILED: create ended {job['status']} {job['error']}"
        )

    def ask(self, token: str, path: str, body: Any = None, *, method: str | None = None) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/api/v1/{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def down(self) -> None:
        self.run(["down"], seconds=300)


def kills(folder: Path, *, xen: bool) -> list[tuple[str, str]]:
    first = Rig(folder / "first", 8150, xen=xen)
    try:
        steps = first.steps()
    finally:
        first.down()
    rows = []
    for number, (step, after) in enumerate(itertools.product(steps, (0.0, 0.7))):
        # with the lab, each round uses the same machines, because a first boot takes minutes
        rig = first if xen else Rig(folder / f"kill{number}", 8151 + number)
        try:
            was_killed = rig.kill_at(step, after_seconds=after)
            what = f"killed {after:g} s into “{step}”" + ("" if was_killed else " (it had ended)")
            rows.append((what, rig.up_again()))
        finally:
            rig.down()
        print(f"{rows[-1][0]:<60} {rows[-1][1]}", flush=True)
    return rows


def pairs(folder: Path, firsts: list[str], redis: str) -> list[tuple[str, str]]:
    rows = []
    for hides_redis in [False] * (redis != "hidden") + [True] * (redis != "there"):
        for number, (one, other) in enumerate(itertools.product(firsts, COMMANDS)):
            port = (8180 if hides_redis else 8220) + number
            rig = Rig(folder / f"pair{number}{hides_redis}", port, hides_redis=hides_redis)
            ends = []
            try:
                for name in (one, other):
                    words, env = COMMANDS[name]
                    given = rig.up_words if name == "make up" else words
                    ends.append(rig.run(given, seconds=LONG_SECONDS, **env)[0])
                # the system's redis-server exists from now on
                rig.hides_redis = False
                said = rig.up_again()
            finally:
                rig.down()
            where = "no redis-server, then one" if hides_redis else "a redis-server"
            rows.append((f"{one}, {other} ({where})", f"ended {ends}, then make up: {said}"))
            print(f"{rows[-1][0]:<60} {rows[-1][1]}", flush=True)
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.make_up")
    parser.add_argument("what", choices=("kills", "pairs"))
    parser.add_argument("--xen", action="store_true", help="kills: with the real lab instead of the stand-in")
    parser.add_argument("--first", nargs="*", default=list(COMMANDS), help="pairs: that begin with these")
    parser.add_argument("--redis", choices=("both", "hidden", "there"), default="both", help="pairs")
    chosen = parser.parse_args()
    # so that a terminated run leaves no processes
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="webxen-newcomer-") as folder:
        where = Path(folder)
        rows = (
            kills(where, xen=chosen.xen)
            if chosen.what == "kills"
            else pairs(where, chosen.first, chosen.redis)
        )
    bad = [row for row in rows if "works" not in row[1]]
    print(f"\n{len(rows) - len(bad)} of {len(rows)} ended with a portal that works")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

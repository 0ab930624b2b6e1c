"""The code is upgraded while machines run: `python -m tests.chaos.upgrade OLD_CHECKOUT [--running]`.

OLD_CHECKOUT is a checkout of the previous version in which `make up` has installed its dependencies. Its
portal and simulated host create a machine, let a job fail, and are stopped during a third job, after a
console was read. Then this checkout's `make up` starts with the same data. With `--running` nothing is
stopped before: the new `make up` finds the old processes. The exit status is 1 if any line is WRONG.
"""

import argparse
import asyncio
import http.cookiejar
import json
import re
import shutil
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from websockets.asyncio.client import connect

from devtools.fakexl import faults
from tests.chaos.make_up import ROOT, UP_SECONDS, Rig

HOST = "fake1"
ENDED = ("SUCCEEDED", "FAILED", "ERROR", "CANCELLED")


class Browser:
    """A signed-in session over HTTP."""

    def __init__(self, port: int) -> None:
        self.base = f"http://127.0.0.1:{port}"
        self.cookies = http.cookiejar.CookieJar()
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.cookies))

    def get(self, path: str) -> str:
        """Return the page's text. Raises HTTPError."""
        with self.opener.open(self.base + path, timeout=60) as answer:
            text: str = answer.read().decode()
        return text

    def sign_in(self, username: str, password: str) -> None:
        page = self.get("/accounts/login/")
        found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
        assert found is not None
        form = {"csrfmiddlewaretoken": found[1], "login": username, "password": password}
        body = urllib.parse.urlencode(form).encode()
        self.opener.open(self.base + "/accounts/login/", data=body, timeout=60).close()


class Upgrade:
    """The steps, printed as they happen."""

    def __init__(self, old: Path, data: Path, port: int) -> None:
        self.old, self.new = Rig(data, port, root=old), Rig(data, port)
        self.data, self.port, self.wrong = data, port, 0

    def expect(self, what: str, is_so: bool, seen: object = "") -> None:
        shown = "" if seen == "" else f" ({str(seen)[:160]})"
        print(f"  {'ok   ' if is_so else 'WRONG'} {what}{shown}", flush=True)
        self.wrong += not is_so

    def up(self, rig: Rig) -> None:
        status, said = rig.run(rig.up_words, seconds=UP_SECONDS)
        if status:
            raise SystemExit(f"make up failed:\n{said[-3000:]}")

    @property
    def account(self) -> dict[str, Any]:
        demo = json.loads((self.data / "demo.json").read_text())
        return next(one for one in demo["accounts"] if one["username"] == "alice")

    def ask(self, path: str, body: Any = None, *, method: str | None = None) -> Any:
        try:
            return self.new.ask(self.account["token"], path, body, method=method)
        except urllib.error.HTTPError as error:
            raise SystemExit(f"{method or 'GET or POST'} {path}: {error.read().decode()}") from None

    def request(self, name: str) -> tuple[str, str]:
        """Request a machine; return the ids of the machine and of its job."""
        spec = {"name": name, "image": "minimal", "size": "tiny", "password": "newcomer1"}
        asked = self.ask("requests/", spec)
        return asked["machine"], asked["job"]

    def job(self, job: str, *, until: tuple[str, ...] = ENDED, seconds: float = 120) -> Any:
        deadline = time.monotonic() + seconds
        while (found := self.ask(f"jobs/{job}/"))["status"] not in until and time.monotonic() < deadline:
            time.sleep(0.5)
        return found

    def set_faults(self, settings: dict[str, dict[str, Any]]) -> None:
        faults.lay_out(self.data / "hosts" / HOST / "xl", settings)

    def read_console(self, machine: str, offset: int, *, until: bytes = b"", seconds: float = 30) -> bytes:
        """Return a console's output from this offset on, until it contains this text or pauses."""
        ticket = self.ask(f"machines/{machine}/console/", {})

        async def read() -> bytes:
            url = f"ws://127.0.0.1:{self.port}/ws/console/{machine}/?offset={offset}"
            names = ["webxen.console.v1", f"webxen.ticket.{ticket['ticket']}"]
            found = b""
            async with connect(url, subprotocols=names, origin=f"http://127.0.0.1:{self.port}") as socket:  # type: ignore[arg-type]
                end = time.monotonic() + seconds
                while time.monotonic() < end:
                    try:
                        message = await asyncio.wait_for(socket.recv(), 5)
                    except TimeoutError:
                        break
                    if isinstance(message, bytes):
                        found += message
                        await socket.send(json.dumps({"type": "ack", "offset": offset + len(found)}))
                    if until and until in found:
                        break
            return found

        return asyncio.run(read())

    def play(self, *, is_running: bool) -> None:
        print("=== the version before", flush=True)
        self.up(self.old)
        browser = Browser(self.port)
        browser.sign_in("alice", self.account["password"])
        first, made = self.request("before1")
        self.expect("a machine is made", self.job(made)["status"] == "SUCCEEDED")
        console = self.read_console(first, 0, until=b"login:")
        self.expect("its console shows the login prompt", b"login:" in console, len(console))
        self.set_faults({"create": {"exit": 1, "stderr": "libxl: error: no memory\n"}})
        _, bad = self.request("before2")
        failed = self.job(bad)
        self.expect("a job ends badly", failed["status"] == "FAILED", failed["error"])
        self.set_faults({"create": {"slow": 30}})
        third, open_job = self.request("before3")
        self.job(open_job, until=("RUNNING",))
        time.sleep(2)
        running = self.ask(f"jobs/{open_job}/")
        self.expect("another is under way", running["status"] == "RUNNING", running["step"])
        if not is_running:
            self.old.down()
        self.set_faults({})
        print("=== this version, over the same data", flush=True)
        self.up(self.new)
        self.look(browser, first, console, failed, third, open_job, is_running=is_running)

    def look(
        self,
        browser: Browser,
        first: str,
        console: bytes,
        failed: Any,
        third: str,
        open_job: str,
        *,
        is_running: bool,
    ) -> None:
        machine = self.ask(f"machines/{first}/")
        self.expect("the token is still good, the machine is READY", machine["state"] == "READY")
        self.expect("the portal is this version", "oldest_worker" in self.ask("version/"))
        deadline = time.monotonic() + 60
        # `make down` ends the simulated host with its domains, as a lab's dom0 is shut down
        wanted = "RUNNING" if is_running else "OFF"
        while machine["power"] != wanted and time.monotonic() < deadline:
            time.sleep(1)
            machine = self.ask(f"machines/{first}/")
        self.expect(f"and it is seen {wanted}", machine["power"] == wanted, machine["power"])
        replayed = self.read_console(first, 0)
        self.expect("its console is replayed from the start", replayed.startswith(console), len(replayed))
        now = self.ask(f"jobs/{failed['id']}/")
        said = failed["error"]["message"]
        self.expect("the API still says why a job ended badly", bool(now["error"]["message"]), now["error"])
        page = browser.get(f"/jobs/{failed['id']}/")
        code = failed["error"]["code"]
        self.expect("so does its page, for the session of before", said[:40] in page or code in page, said)
        end = self.job(open_job)
        self.expect("the job that was under way ends", end["status"] in ENDED, (end["status"], end["error"]))
        self.expect("and well", end["status"] == "SUCCEEDED", self.ask(f"machines/{third}/")["state"])
        verb = "reboot" if machine["power"] == "RUNNING" else "start"
        again = self.ask(f"machines/{first}/{verb}/", {})
        self.expect(f"a machine of before obeys {verb}", self.job(again["id"])["status"] == "SUCCEEDED")
        gone = self.ask(f"machines/{first}/", method="DELETE")
        self.expect("and deleted", self.job(gone["id"])["status"] == "SUCCEEDED")
        for path in ("/", "/machines/", "/jobs/", "/quota/"):
            try:
                self.expect(f"{path} opens", bool(browser.get(path)))
            except urllib.error.HTTPError as error:
                self.expect(f"{path} opens", error.code == 404, error.code)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.upgrade")
    parser.add_argument("old", type=Path, help="a checkout of the version before")
    parser.add_argument("--running", action="store_true", help="do not stop the version before first")
    parser.add_argument("--port", type=int, default=8461)
    chosen = parser.parse_args()
    data = Path(tempfile.mkdtemp(prefix="webxen-upgrade-"))
    upgrade = Upgrade(chosen.old.resolve(), data, chosen.port)
    try:
        upgrade.play(is_running=chosen.running)
    finally:
        upgrade.new.down()
        upgrade.old.down()
        shutil.rmtree(data, ignore_errors=True)
    print(f"{upgrade.wrong} WRONG, from {chosen.old.name} to {ROOT.name}")
    return 1 if upgrade.wrong else 0


if __name__ == "__main__":
    sys.exit(main())

"""The whole product on real Xen as a script sees it: tokens, the console's socket, and `xl` beside them."""

import json
import re
import secrets
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from devtools.lab import lab
from devtools.lab.host import LabHost

PASSWORD = "plain-xen-77"
#: a shell's counter, ten numbers a second or as many as an emulated processor manages
COUNTER = "n=0; while :; do n=$((n+1)); echo CNT $n; usleep 100000; done"
KERNEL = re.compile(rb"\[ *\d+\.\d{6}\] [^\r\n]*\r\n")
COUNTED = re.compile(rb"CNT (\d+)\r\n")
OPEN = ("PENDING", "QUEUED", "RUNNING")


class Api:
    """The portal with one person's token."""

    def __init__(self, data: Path, username: str) -> None:
        demo = json.loads((data / "demo.json").read_text())
        self._url = f"{demo['url']}/api/v1"
        self._token = next(p["token"] for p in demo["accounts"] if p["username"] == username)

    def call(self, method: str, path: str, /, **body: object) -> dict[str, Any]:
        text = self._ask(method, path, body)
        found: dict[str, Any] = json.loads(text) if text else {}
        return found

    def config(self, machine_id: str) -> str:
        return self._ask("GET", f"machines/{machine_id}/config/", {}).decode()

    def _ask(self, method: str, path: str, body: dict[str, object]) -> bytes:
        request = urllib.request.Request(
            f"{self._url}/{path}",
            method=method,
            data=json.dumps(body).encode() if body else None,
            headers={"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError as refused:
            raise AssertionError(f"{method} {path}: {refused.code} {refused.read().decode()}") from refused

    def finish(self, job_id: str, *, watch: Callable[[dict[str, Any]], object] = bool) -> dict[str, Any]:
        """The job when it has ended; `watch` sees it on its way there."""
        while True:
            job = self.call("GET", f"jobs/{job_id}/")
            watch(job)
            if job["status"] not in OPEN:
                return job
            time.sleep(0.5)

    def done(self, job: dict[str, Any]) -> dict[str, Any]:
        end = self.finish(job["id"])
        assert end["status"] == "SUCCEEDED", end
        return end

    def machine(self, machine_id: str) -> dict[str, Any]:
        return self.call("GET", f"machines/{machine_id}/")

    @contextmanager
    def console(self, machine_id: str) -> "Iterator[Console]":
        seat = self.call("POST", f"machines/{machine_id}/console/")
        words: Any = ["webxen.console.v1", f"webxen.ticket.{seat['ticket']}"]
        with connect(f"{seat['url']}?offset=0", subprotocols=words, proxy=None) as socket:
            yield Console(socket)


class Console:
    """A machine's console as its socket gives it; acknowledges what it reads."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._offset = 0
        self.text = b""
        self.words: list[dict[str, Any]] = []

    def read(self, seconds: float) -> None:
        """Whatever comes within the time."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            try:
                frame = self._socket.recv(timeout=left)
            except TimeoutError:
                return
            if isinstance(frame, str):
                word = json.loads(frame)
                self.words.append(word)
                self._offset = {"hello": word.get("offset"), "gap": word.get("to")}.get(
                    word["type"], self._offset
                )
                continue
            self.text += frame
            self._offset += len(frame)
            self._socket.send(json.dumps({"type": "ack", "offset": self._offset}))

    def until(self, end: bytes, *, after: int = 0, seconds: float = 300) -> None:
        until = time.monotonic() + seconds
        while end not in self.text[after:]:
            assert time.monotonic() < until, f"{end!r} never came: {self.text[-500:]!r} {self.words}"
            self.read(0.3)

    def types(self, line: str) -> int:
        """Type a line; answers where in the text its echo begins."""
        begins = len(self.text)
        self._socket.send(line.encode() + b"\n")
        return begins

    def log_in(self) -> None:
        self.until(b"login:")
        begins = self.types("root")
        self.until(b"assword:", after=begins)
        time.sleep(1)  # the guest prints the word first and stops the echo then
        self.until(b"# ", after=self.types(PASSWORD))


class Xen:
    """What the dom0s themselves say."""

    def __init__(self, data: Path) -> None:
        self.hosts: dict[str, LabHost] = {host.name: host for host in lab.hosts(root=data.resolve() / "lab")}

    def run(self, host: str, *argv: str) -> str:
        return self.hosts[host].run(list(argv), timeout_seconds=120, check=True).text

    def where(self, machine_id: str) -> dict[str, str]:
        """On which hosts `xl list` has the machine, and its state's letters there."""
        found = {}
        for name in self.hosts:
            for line in self.run(name, "xl", "list").splitlines():
                words = line.split()
                if words and words[0].endswith(f"-{machine_id[:8]}"):
                    found[name] = words[4].replace("-", "")
        return found

    def power(self, machine_id: str) -> str:
        """RUNNING or OFF, as the page should have it."""
        living = [state for state in self.where(machine_id).values() if not state or state[0] in "rbp"]
        return "RUNNING" if living else "OFF"

    def kill_services(self, host: str) -> None:
        """Every program of the worker there, at once."""
        pids = [state.split()[1] for state in self.hosts[host].service_status().values() if " " in state]
        assert len(pids) > 2, pids
        self.run(host, "kill", "-9", *pids)


def numbers_in(text: bytes) -> list[int]:
    """What the counter has printed there, also where the guest's kernel spoke in the midst of it."""
    return [int(number) for number in COUNTED.findall(KERNEL.sub(b"", text))]


def around_gap(text: bytes) -> bytes:
    """What the console has where a number is missing or told twice."""
    numbers = numbers_in(text)
    wrong = next((at for at, number in enumerate(numbers, 1) if number != at), 0)
    where = text.find(b"CNT %d\r" % (wrong - 1))
    return text[max(0, where - 200) : where + 600] if wrong else b""


class Portal:
    def __init__(self, data: Path) -> None:
        self.alice, self.dana, self.xen = Api(data, "alice"), Api(data, "dana"), Xen(data)

    def create(self, *, host: str | None = None, **wish: Any) -> str:
        """A machine of alice's at its login prompt; its id. `host` counts where staff must say yes."""
        name = f"lab-{secrets.token_hex(3)}"
        common = {"name": name, "image": "minimal", "password": PASSWORD, "reason": "a test on real Xen"}
        asked = self.alice.call("POST", "requests/", **{**common, **wish})
        if asked["status"] == "PENDING":
            asked = self.dana.call("POST", f"requests/{asked['id']}/approve/", host=host)
        self.alice.done({"id": asked["job"]})
        return str(asked["machine"])

    def act(self, verb: str, machine_id: str) -> None:
        self.alice.done(self.alice.call("POST", f"machines/{machine_id}/{verb}/"))

    def delete(self, machine_id: str) -> None:
        self.alice.done(self.alice.call("DELETE", f"machines/{machine_id}/"))

    def agree(self, machine_id: str, wanted: str, *, seconds: float = 90) -> float:
        """Seconds until `xl list` and the page both say it."""
        began = time.monotonic()
        while True:
            shown, real = self.alice.machine(machine_id)["power"], self.xen.power(machine_id)
            if shown == real == wanted:
                return time.monotonic() - began
            assert time.monotonic() - began < seconds, f"page {shown}, xl list {real}, wanted {wanted}"
            time.sleep(0.5)

    def watch(self, machine_id: str, *, seconds: float) -> list[tuple[int, str]]:
        """What the page shows and since which second, until its host was heard of again."""
        began, shown = time.monotonic(), [(0, "RUNNING")]
        last = self.alice.machine(machine_id)["power_seen_at"]
        changes = 0
        while changes < 3 and (passed := time.monotonic() - began) < seconds:
            seen = self.alice.machine(machine_id)
            if seen["power"] != shown[-1][1]:
                shown.append((int(passed), seen["power"]))
            if seen["power_seen_at"] != last:
                changes, last = changes + 1, seen["power_seen_at"]
            time.sleep(0.5)
        return shown

    def move(
        self, machine_id: str, target: str, *, meanwhile: Callable[[], object] = bool, **words: Any
    ) -> dict[str, Any]:
        job = self.dana.call("POST", f"machines/{machine_id}/migrate/", host=target, **words)
        percents: list[int] = []

        def watch(seen: dict[str, Any]) -> None:
            if (percent := seen["progress"]) not in percents[-1:]:
                percents.append(percent)
            meanwhile()

        end = self.dana.finish(job["id"], watch=watch)
        print(f"{target}: {end['status']} bar {percents} {end['move']}")
        assert end["status"] == "SUCCEEDED", end
        assert percents == sorted(percents)
        return {**end["migration"], "percents": percents}

    def follow_drain(self, host: str) -> list[int]:
        """Wait until the latest drain or return of the host is over; what its bar showed."""
        shown: list[int] = []
        while True:
            progress = self.dana.call("GET", f"hosts/{host}/drain/")["progress"]
            if progress["percent"] not in shown[-1:]:
                shown.append(progress["percent"])
            if progress["finished_at"]:
                return shown
            time.sleep(2)

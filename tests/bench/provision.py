"""Provisioning compared with `xl create` by hand: the same image, configuration and host, in turn.

By hand: copy the cached image sparsely, `xl create`, wait for the login prompt in the console log, timed in
the dom0. WebXen: from the POST that requests the machine to the end of the job, when the login prompt was
seen, timed by this script. A first round is shown but not counted, because a dom0 restored from a snapshot
has empty caches.
"""

import json
import os
import statistics
import time
import urllib.request
from pathlib import Path
from typing import Any

from devtools.lab import lab
from devtools.lab.host import LabHost

COLD = "   (not counted)"
ROUNDS = int(os.environ.get("ROUNDS", "5"))
BY_HAND = r"""
set -e
cd /var/lib/webxen
cfg=$(ls machines/{id}/machine.cfg)
old=$(sed -n "s/.*target=\([^,']*\).*/\1/p" "$cfg" | head -1)
sed -e "s#$old#/var/lib/webxen/bench.img#" -e "s/^name *=.*/name = 'bench'/" \
  -e "s/^uuid *=.*/uuid = '{uuid}'/" -e "s/mac=[0-9a-f:]*/mac=00:16:3e:00:be:0c/" "$cfg" > /tmp/bench.cfg
log=/var/log/xen/console/guest-bench.log; rm -f "$log" bench.img
t0=$(date +%s.%N)
cp --sparse=always images/minimal-1.ext4 bench.img
truncate -s {size} bench.img
xl create -q /tmp/bench.cfg
# no program is started to look: on an emulated dom0 that would slow the guest that is waited for
exec 9<> <(:)
until [[ -e $log && "$(<"$log")" == *login:* ]] 2>/dev/null; do read -r -t 0.5 -u 9 || true; done
t1=$(date +%s.%N)
xl destroy bench >&2 || for i in 1 2 3 4 5; do xl domid bench >/dev/null 2>&1 || break; sleep 1; done
rm -f bench.img
echo "$t1 - $t0" | awk '{{printf "%.2f\n", $1 - $3}}'
"""


class Portal:
    """An API client with a bearer token."""

    def __init__(self, demo: dict[str, Any]) -> None:
        self.url = f"{demo['url']}/api/v1"
        self.token = next(p["token"] for p in demo["accounts"] if p["username"] == "alice")

    def call(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        request = urllib.request.Request(
            f"{self.url}/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=120) as answer:
            text = answer.read()
        found: dict[str, Any] = json.loads(text) if text else {}
        return found

    def finish(self, job: str) -> dict[str, Any]:
        """Wait for a job's end. Raises RuntimeError with its message if it failed."""
        while True:
            found = self.call("GET", f"jobs/{job}/?wait=30")
            if found["status"] not in ("PENDING", "QUEUED", "RUNNING"):
                break
        if found["status"] != "SUCCEEDED":
            raise RuntimeError(str(found["error"]))
        return found


def create(portal: Portal, number: int) -> tuple[str, float]:
    """Create a machine through WebXen; return its id and the seconds from the request to its login prompt."""
    begun = time.monotonic()
    wish = {
        "name": f"bench-{os.getpid()}-{number}",
        "image": "minimal",
        "size": "tiny",
        "password": "bench-only",
    }
    asked = portal.call("POST", "requests/", wish)
    portal.finish(asked["job"])
    return asked["machine"], time.monotonic() - begun


def by_hand(host: LabHost, machine: str, number: int) -> float:
    """The same by hand, with the configuration that WebXen wrote for its machine."""
    size = host.run(f"stat -c %s /var/lib/webxen/disks/{machine}/*.img", check=True).text.split()[0]
    script = BY_HAND.format(id=machine, uuid=f"be0c0000-0000-4000-8000-{number:012d}", size=size)
    return float(host.run(script, timeout_seconds=300, check=True).text.split()[-1])


def main() -> int:
    data = Path(os.environ.get("WEBXEN_DATA", ".webxen"))
    hosts = lab.hosts()
    if not hosts or not (data / "demo.json").exists():
        print("There is no lab with a portal to measure. Run `make up` first.")
        return 1
    portal, host = Portal(json.loads((data / "demo.json").read_text())), hosts[0]
    ours, bare = [], []
    print(f"{'round':>5}  {'WebXen, s':>10}  {'by hand, s':>10}  {'ratio':>6}")
    for number in range(ROUNDS + 1):
        machine, seconds = create(portal, number)
        portal.finish(portal.call("POST", f"machines/{machine}/poweroff/")["id"])
        ours.append(seconds)
        bare.append(by_hand(host, machine, number))
        portal.finish(portal.call("DELETE", f"machines/{machine}/")["id"])
        row = f"{number:>5}  {seconds:>10.2f}  {bare[-1]:>10.2f}  {seconds / bare[-1]:>6.2f}"
        print(row if number else row + COLD, flush=True)
    del ours[0], bare[0]
    one, other = statistics.median(ours), statistics.median(bare)
    ratio = statistics.median(a / b for a, b in zip(ours, bare, strict=True))
    print(f"{'median':>6} {one:>10.2f}  {other:>10.2f}  {ratio:>6.2f}   (goal: at most 1.15)")
    return 0

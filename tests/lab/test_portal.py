"""The whole product on two real Xen hosts: the wiki page's case, page and `xl list` agreeing, and moves."""

import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.desk import ROOT, desk
from tests.lab.portal import PASSWORD, Api, Xen

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.timeout(1800)]
#: a shell's counter, ten numbers a second or as many as an emulated processor manages
COUNTER = "n=0; while :; do n=$((n+1)); echo CNT $n; usleep 100000; done"
COUNTED = re.compile(rb"CNT (\d+)\r\n")


class Portal:
    def __init__(self, data: Path) -> None:
        self.alice, self.dana, self.xen = Api(data, "alice"), Api(data, "dana"), Xen()

    def create(self, **wish: Any) -> str:
        """A machine of alice's at its login prompt; its id."""
        name = f"lab-{secrets.token_hex(3)}"
        common = {"name": name, "image": "minimal", "password": PASSWORD, "reason": "a test on real Xen"}
        asked = self.alice.call("POST", "requests/", **{**common, **wish})
        if asked["status"] == "PENDING":
            asked = self.dana.call("POST", f"requests/{asked['id']}/approve/")
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
        return {**end["move"], "percents": percents}


@pytest.fixture(scope="module")
def portal() -> Iterator[Portal]:
    data = Path(os.environ.get("WEBXEN_LAB_DATA", ROOT / ".webxen"))
    with desk("xen", data, hosts=2):
        yield Portal(data)


@pytest.fixture
def machine(portal: Portal) -> Iterator[Callable[..., str]]:
    made: list[str] = []

    def create(**wish: Any) -> str:
        made.append(portal.create(**wish))
        return made[-1]

    yield create
    for machine_id in made:
        if portal.xen.power(machine_id) == "RUNNING":
            portal.act("poweroff", machine_id)
        portal.delete(machine_id)
        assert portal.xen.where(machine_id) == {}


def test_a_root_tarball_boots_with_a_kernel_of_the_dom0(portal: Portal, machine: Callable[..., str]) -> None:
    """As the Xen page of the ALT Linux wiki does it by hand: memory 256, the root on the first disk."""
    made = machine(image="tarball", vcpus=1, memory_mib=256, disk_gib=1)
    config = portal.alice.config(made)
    assert re.search(r"^memory *= *256$", config, re.MULTILINE), config
    assert re.search(r"^root *= *'/dev/xvda1", config, re.MULTILINE), config
    assert "/var/lib/webxen/kernels/" in config
    with portal.alice.console(made) as console:
        console.log_in()
        console.until(b"\nxen\r", after=console.types("cat /sys/hypervisor/type"))


def test_page_and_xl_list_agree(portal: Portal, machine: Callable[..., str]) -> None:
    made = machine(size="tiny")
    with portal.alice.console(made) as console:
        console.log_in()
        console.types("poweroff")
    print(f"poweroff inside the guest: {portal.agree(made, 'OFF'):.1f} s")
    portal.act("start", made)
    assert portal.agree(made, "RUNNING") < 5
    (host,) = portal.xen.where(made)
    portal.xen.run(host, "xl", "destroy", f"{portal.alice.machine(made)['name']}-{made[:8]}")
    print(f"xl destroy by hand: {portal.agree(made, 'OFF'):.1f} s")
    portal.act("start", made)
    portal.xen.kill_services(host)
    shown = portal.watch(made, seconds=90)
    print(f"all services killed: {shown}")
    # a host that is silent for long is shown as what it is; a machine that runs is never shown as off
    assert {power for _, power in shown} <= {"RUNNING", "UNKNOWN"}
    portal.agree(made, "RUNNING")


def test_alice_watches_her_console_while_dana_moves_her_machine(
    portal: Portal, machine: Callable[..., str]
) -> None:
    made = machine(size="tiny")
    (first,) = portal.xen.where(made)
    (other,) = set(portal.xen.hosts) - {first}
    with portal.alice.console(made) as console:
        console.log_in()
        begins = console.types(COUNTER)
        console.until(b"CNT 20\r", after=begins)
        for target in (other, first):
            moved = portal.move(made, target, meanwhile=lambda: console.read(0.2))
            assert (moved["verdict"], moved["method"]) == ("MOVED", "LIVE")
            assert len(moved["percents"]) > 3, "the bar moved"
            assert list(portal.xen.where(made)) == [target]
            portal.agree(made, "RUNNING")
            before = len(COUNTED.findall(console.text))
            console.read(5)
            numbers = [int(number) for number in COUNTED.findall(console.text[begins:])]
            assert len(numbers) > before, "it goes on counting on the console that stayed open"
            assert numbers == list(range(1, len(numbers) + 1)), "not one number is missing or told twice"

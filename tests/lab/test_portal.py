"""The whole product on two real Xen hosts: the wiki page's case, page and `xl list` agreeing, and moves."""

import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.portal_runner import ROOT, desk
from tests.lab.portal import COUNTER, Portal, around_gap, numbers_in

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.timeout(1800)]


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
            before = len(numbers_in(console.text[begins:]))
            console.read(5)
            numbers = numbers_in(console.text[begins:])
            assert len(numbers) > before, "it goes on counting on the console that stayed open"
            # not one number is missing or told twice
            assert numbers == list(range(1, len(numbers) + 1)), around_gap(console.text[begins:])


def test_a_host_with_six_machines_is_drained(portal: Portal, machine: Callable[..., str]) -> None:
    """What cannot go is named beforehand; the rest goes, runs on, and comes back."""
    own = {"vcpus": 1, "memory_mib": 128, "disk_gib": 1, "host": "xen1"}
    running = [machine(**own) for _ in range(6)]
    off = machine(**own)
    portal.act("poweroff", off)
    plan = portal.dana.call("GET", "hosts/xen1/drain/")["plan"]
    steps = {step["machine"]: step for step in plan["steps"]}
    for step in steps.values():
        print(step["name"], step["target"], step["method"], step["expected_seconds"], step["why"])
    assert {steps[made]["target"] for made in running} == {"xen2"}
    assert steps[off]["target"] is None
    assert "off" in steps[off]["why"]
    began = time.monotonic()
    portal.dana.call("POST", "hosts/xen1/drain/", shut_down=False)
    shown = portal.follow_drain("xen1")
    print(
        f"drained in {time.monotonic() - began:.0f} s (expected {plan['expected_seconds']:.0f}), bar {shown}"
    )
    assert shown == sorted(shown)
    assert [portal.xen.where(made).keys() for made in running] == [{"xen2"}] * 6
    assert portal.alice.machine(off)["host"] == "xen1"
    portal.dana.call("POST", "hosts/xen1/undrain/")
    portal.follow_drain("xen1")
    assert [portal.xen.where(made).keys() for made in running] == [{"xen1"}] * 6

"""The packaged units on real Xen: a dom0 under Debian's own init, and a machine's life in their sandboxes.

It runs in a lab of its own beside the one other tests use, with the same images.
"""

import re
from collections.abc import Callable, Iterator

import pytest

from devtools.lab import guests, lab
from devtools.lab.paths import data_dir, lab_paths
from tests.browser.portal_runner import desk
from tests.lab.portal import Portal

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.timeout(1200)]

UNITS = [f"webxen-{name}" for name in ("agent", "consoled", "listener", "relay")]
#: the capabilities of packaging/systemd/webxen-consoled.service: CAP_DAC_OVERRIDE is bit 1
DAC_OVERRIDE = 1 << 1
SYS_MODULE = 1 << 16


@pytest.fixture(scope="module")
def portal() -> Iterator[Portal]:
    lab.install_missing()
    first = lab_paths()
    if not first.images.exists():
        lab.up(say=print)
    guests.build(print)
    data = data_dir() / "systemd"
    (data / "lab").mkdir(parents=True, exist_ok=True, mode=0o700)
    shared = [(data / "images", data_dir() / "images")]
    shared += [(data / "lab" / name, first.root / name) for name in ("images", "keys", "boots", "accel.json")]
    for link, target in shared:
        if not link.is_symlink():
            link.symlink_to(target)
    with desk("xen", data, own={"WEBXEN_LAB_INIT": "systemd"}):
        yield Portal(data)


@pytest.fixture
def machine(portal: Portal) -> Iterator[Callable[[], str]]:
    made: list[str] = []

    def create() -> str:
        made.append(portal.create(size="tiny"))
        return made[-1]

    yield create
    for machine_id in made:
        portal.delete(machine_id)
        assert portal.xen.where(machine_id) == {}


def shown(portal: Portal, unit: str, name: str) -> str:
    return portal.xen.run("xen1", "systemctl", "show", "-P", name, unit).strip()


def capabilities(portal: Portal, unit: str) -> int:
    status = portal.xen.run("xen1", "cat", f"/proc/{shown(portal, unit, 'MainPID')}/status")
    found = re.search(r"^CapEff:\t([0-9a-f]+)$", status, re.MULTILINE)
    assert found, status
    return int(found[1], 16)


def test_systemd_starts_xen_and_the_four_services(portal: Portal) -> None:
    assert portal.xen.run("xen1", "ps", "-o", "comm=", "-p", "1").strip() == "systemd"
    failed = portal.xen.run("xen1", "systemctl", "list-units", "--failed", "--no-legend", "--plain")
    assert failed.strip() == ""
    for unit in [*UNITS, "xen"]:
        assert shown(portal, unit, "ActiveState") == "active", unit
    assert [shown(portal, unit, "UnitFileState") for unit in UNITS] == ["enabled"] * 4


def test_each_has_the_power_that_its_unit_names(portal: Portal) -> None:
    held = {unit: capabilities(portal, unit) for unit in UNITS}
    assert held["webxen-listener"] == held["webxen-relay"] == 0
    assert held["webxen-consoled"] == DAC_OVERRIDE
    assert held["webxen-agent"] & SYS_MODULE == 0
    accounts = {unit: shown(portal, unit, "User") for unit in UNITS}
    assert accounts["webxen-listener"] == "webxen"
    assert accounts["webxen-relay"] == "webxen-relay"
    for unit in UNITS:
        environment = portal.xen.run("xen1", "cat", f"/proc/{shown(portal, unit, 'MainPID')}/environ")
        assert "redis://" not in environment, unit


def test_consoled_is_root_and_cannot_ask_process_1_for_more(portal: Portal) -> None:
    """systemd does what root asks at its socket, and does not look at capabilities."""
    knock = (
        "import socket; s = socket.socket(socket.AF_UNIX); s.settimeout(5); s.connect('/run/systemd/private')"
    )
    pid = shown(portal, "webxen-consoled", "MainPID")
    outside = portal.xen.hosts["xen1"].run(["python3", "-c", knock])
    inside = portal.xen.hosts["xen1"].run(["nsenter", "-t", pid, "-m", "python3", "-c", knock])
    assert (outside.rc, inside.rc) == (0, 1), inside.error_text
    assert "Error" in inside.error_text.splitlines()[-1]


def test_a_machine_lives_while_they_are_stopped_killed_and_started(
    portal: Portal, machine: Callable[[], str]
) -> None:
    made = machine()
    before = {unit: shown(portal, unit, "MainPID") for unit in UNITS}
    began = portal.xen.run("xen1", "date", "+@%s").strip()
    portal.xen.run("xen1", "systemctl", "restart", *UNITS)
    assert {unit for unit in UNITS if shown(portal, unit, "MainPID") == before[unit]} == set()
    portal.watch(made, seconds=120)  # under emulation they may be away for longer than a host may be silent
    # its xl and its disk's back end stayed, though the unit that had started them was stopped
    portal.agree(made, "RUNNING")
    left = portal.xen.run("xen1", "journalctl", "-u", "webxen-agent", "--no-pager", "--since", began)
    assert "Stopping webxen-agent" in left
    assert "xenstore-watch) remains" not in left
    portal.act("reboot", made)
    with portal.alice.console(made) as console:
        console.log_in()
    portal.xen.kill_services("xen1")
    shown_power = {power for _, power in portal.watch(made, seconds=120)}
    assert shown_power <= {"RUNNING", "UNKNOWN"}
    portal.act("poweroff", made)
    portal.agree(made, "OFF")

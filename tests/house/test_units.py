"""The systemd units: systemd can read them, they start what the worker is, and stay as closed as they are."""

import configparser
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.house.tree import ROOT
from worker.lab import services

UNITS = {path.stem.removeprefix("webxen-"): path for path in ROOT.glob("packaging/systemd/*.service")}
#: what `systemd-analyze security` may say at most, in tenths: 0 is closed, 100 is open
MOST_EXPOSED = {"door": 12, "consoled": 25, "cellar": 45, "relay": 14}


def read(name: str) -> dict[str, str]:
    """The [Service] section; of a key that comes twice the last one."""
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(UNITS[name].read_text())
    return dict(parser["Service"])


def analyze(*argv: str) -> "subprocess.CompletedProcess[str]":
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed: apt-get install systemd")
    return subprocess.run([program, *argv], capture_output=True, text=True, timeout=60, check=False)


def test_there_is_one_for_each_service() -> None:
    assert set(UNITS) == set(services.service_lines("xen1")) == set(MOST_EXPOSED)


@pytest.mark.parametrize("name", sorted(MOST_EXPOSED))
class TestUnit:
    def test_starts_what_a_dom0_in_the_lab_starts(self, name: str) -> None:
        argv = shlex.split(read(name)["ExecStart"])
        assert argv[0] == "/opt/webxen/bin/python"
        assert argv[1:] == services.service_lines("${WEBXEN_HOST}")[name][1:]

    def test_is_begun_again_when_it_ends(self, name: str) -> None:
        assert read(name)["Restart"] == "always"

    def test_is_read_by_systemd_without_a_word(self, name: str, tmp_path: Path) -> None:
        # systemd looks whether the program is there; here it is not
        for other, path in UNITS.items():
            text = path.read_text().replace("/opt/webxen/bin/python", "/bin/true")
            (tmp_path / f"webxen-{other}.service").write_text(text)
        done = analyze("verify", "--man=no", str(tmp_path / f"webxen-{name}.service"))
        ours = [line for line in (done.stdout + done.stderr).splitlines() if "webxen" in line]
        assert (done.returncode, ours) == (0, [])

    def test_is_as_closed_as_it_was(self, name: str) -> None:
        version = re.search(r"systemd (\d+)", analyze("--version").stdout)
        if version is None or int(version[1]) < 250:
            pytest.skip("systemd-analyze before 250 cannot look at a file")
        done = analyze("security", "--offline=yes", f"--threshold={MOST_EXPOSED[name]}", str(UNITS[name]))
        assert done.returncode == 0, done.stdout[-200:]


def test_the_door_has_no_power() -> None:
    door = read("door")
    assert door["User"] == services.DOOR_USER
    assert door["NoNewPrivileges"] == "yes"
    assert door["CapabilityBoundingSet"] == door["AmbientCapabilities"] == ""
    assert "-/etc/webxen/host.key" in door["InaccessiblePaths"]


@pytest.mark.parametrize("name", ["door", "consoled"])
def test_the_brokers_password_is_a_credential(name: str) -> None:
    unit = read(name)
    assert unit["LoadCredential"] == "broker.url:/etc/webxen/broker.url"
    assert unit["Environment"] == "WEBXEN_BROKER_URL_FILE=%d/broker.url"
    assert "-/etc/webxen/broker.url" in unit["InaccessiblePaths"]


def test_the_relay_has_no_power_either() -> None:
    relay = read("relay")
    assert relay["User"] == services.RELAY_USER
    assert relay["CapabilityBoundingSet"] == relay["AmbientCapabilities"] == ""
    assert relay["UnsetEnvironment"] == "WEBXEN_BROKER_URL"


def test_each_has_a_place_for_temporary_files() -> None:
    """ProtectSystem=strict leaves none: under systemd 257 Python found "no usable temporary directory"."""
    made = ROOT.joinpath("packaging/systemd/webxen.tmpfiles.conf").read_text()
    for name in UNITS:
        unit = read(name)
        if unit.get("PrivateTmp") == "yes":
            continue
        folder = unit["Environment"].removeprefix("TMPDIR=")
        assert re.search(rf"^d {folder} 0700 root root", made, re.MULTILINE), name
        assert any(folder.startswith(f"{path}/") for path in unit["ReadWritePaths"].split()), name


def test_the_cellar_has_no_network_and_leaves_the_guests_alone() -> None:
    cellar = read("cellar")
    assert cellar["IPAddressDeny"] == "any"
    assert cellar["UnsetEnvironment"] == "WEBXEN_BROKER_URL"
    # control-group would end QEMU, and with it the disks of running guests
    assert cellar["KillMode"] == "process"

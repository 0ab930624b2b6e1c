"""The systemd units: systemd can read them, they start what the worker is, and stay as closed as they are."""

import configparser
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from devtools.lab import services
from tests.conventions.tree import ROOT
from worker import settings

UNITS = {path.stem.removeprefix("webxen-"): path for path in ROOT.glob("packaging/systemd/*.service")}
#: what `systemd-analyze security` may say at most, in tenths: 0 is closed, 100 is open
MOST_EXPOSED = {"listener": 12, "consoled": 23, "agent": 45, "relay": 14}


#: the folders below /var/lib/webxen
FOLDERS = (
    *("images", "kernels", "disks", "machines", "journal"),
    *("console", "fences", "receipts", "locks", "moves"),
)


def words(name: str, key: str) -> set[str]:
    """All words of a key that may come several times; without the dash that lets a path be missing."""
    lines = re.findall(rf"^{key}=(.*)$", UNITS[name].read_text(), re.MULTILINE)
    return {word.lstrip("-") for line in lines for word in line.split()}


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

    def test_leaves_no_core_dump(self, name: str) -> None:
        assert read(name)["LimitCORE"] == "0"

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


def test_the_listener_has_no_power() -> None:
    listener = read("listener")
    assert listener["User"] == services.LISTENER_USER
    assert listener["NoNewPrivileges"] == "yes"
    assert listener["CapabilityBoundingSet"] == listener["AmbientCapabilities"] == ""
    assert "-/etc/webxen/host.key" in listener["InaccessiblePaths"]


@pytest.mark.parametrize("name", ["listener", "consoled"])
def test_the_brokers_password_is_a_credential(name: str) -> None:
    unit = read(name)
    assert unit["LoadCredential"] == "broker.url:/etc/webxen/broker.url"
    assert unit["Environment"] == "WEBXEN_BROKER_URL_FILE=%d/broker.url"
    assert "-/etc/webxen/broker.url" in unit["InaccessiblePaths"]


def test_consoled_writes_its_own_folder_and_nothing_else_of_the_workers() -> None:
    unit = read("consoled")
    assert (unit["ProtectSystem"], unit["StateDirectory"]) == ("strict", "webxen/console")
    assert words("consoled", "ReadWritePaths") == {"/var/lock"}
    closed = words("consoled", "InaccessiblePaths")
    assert closed >= {f"/var/lib/webxen/{name}" for name in set(FOLDERS) - {"console", "machines"}}
    assert closed >= {"/etc/webxen/host.key", "/run/webxen", "/run/webxen-relay", "/var/lib/webxen-relay"}
    assert "/var/lib/webxen/machines" in words("consoled", "ReadOnlyPaths")


@pytest.mark.parametrize("name", ["listener", "relay"])
def test_who_has_the_network_and_no_power_sees_nothing_of_the_agents(name: str) -> None:
    assert "StateDirectory" not in read(name) or read(name)["StateDirectory"] == "webxen-relay"
    assert words(name, "ReadWritePaths") == set()
    assert words(name, "InaccessiblePaths") >= {
        *("/var/lib/webxen", "/etc/webxen/host.key", "/etc/webxen/broker.url", "/etc/webxen/worker.env")
    }


def test_only_the_relay_reaches_the_relays_key() -> None:
    for name in set(UNITS) - {"relay"}:
        assert "/var/lib/webxen-relay" in words(name, "InaccessiblePaths"), name


def test_every_folder_is_there_before_a_unit_is_started(tmp_path: Path) -> None:
    """A path that is missing when a unit is started is not closed to it."""
    made = ROOT.joinpath("packaging/systemd/webxen.tmpfiles.conf").read_text()
    settings.read(
        {"WEBXEN_HOST": "xen1", "WEBXEN_STATE_DIR": str(tmp_path)}, needs_broker=False
    ).make_directories()
    assert {path.name for path in tmp_path.iterdir()} == set(FOLDERS)
    for name in FOLDERS:
        assert f"d /var/lib/webxen/{name} 0700 root root -\n" in made


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


def test_the_agent_has_no_network_and_leaves_the_guests_alone() -> None:
    agent = read("agent")
    assert agent["IPAddressDeny"] == "any"
    assert agent["UnsetEnvironment"] == "WEBXEN_BROKER_URL"
    # control-group would end QEMU, and with it the disks of running guests
    assert agent["KillMode"] == "process"

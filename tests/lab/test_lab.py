"""The lab itself, with real Xen: what a person's `up`, `down` and a killed QEMU do to machines.

It runs in a lab of its own beside the one other tests use, with the same image and first boot.
"""

import hashlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools.lab import lab
from devtools.lab.host import LabHost
from devtools.lab.paths import lab_paths
from worker.contract import cpuid_lines, read_features
from worker.identity import keys
from worker.xen import config, xl

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.timeout(900)]

#: A domain that needs no image: the dom0's own kernel with its own initrd, waiting for a root disk.
CONFIG = """\
name = "sleeper"
type = "pvh"
memory = 160
kernel = "/root/vmlinux"
ramdisk = "/root/initrd"
extra = "console=hvc0 quiet"
"""


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    """A second lab that shares the first one's image, keys and first boot."""
    first = lab_paths()
    lab.install_missing()
    if not first.images.exists():
        lab.up(say=print)
    twin = first.root.with_name("lab-twin")
    twin.mkdir(exist_ok=True)
    for name in ("images", "keys", "boots", "accel.json"):
        if not (twin / name).is_symlink():
            (twin / name).symlink_to(first.root / name)
    lab.reset(say=print, root=twin)
    yield twin
    lab.down(root=twin)


@pytest.fixture
def xen1(root: Path) -> LabHost:
    (host,) = lab.up(say=print, root=root)
    return host


def _pid(root: Path) -> int:
    pid = lab.status(root=root)[0].pid
    assert pid is not None
    return pid


def _create_sleeper(xen1: LabHost, root: Path, more: str = "") -> None:
    images = lab_paths(root).images
    xen1.put(next(images.glob("vmlinux-*")), "/root/vmlinux")
    xen1.put(next(images.glob("initrd-*")), "/root/initrd")
    xen1.put_bytes((CONFIG + more).encode(), "/root/sleeper.cfg")
    xen1.run(["xl", "create", "/root/sleeper.cfg"], timeout_seconds=120, check=True)


def _says(host: LabHost, command: str) -> str:
    return host.run(command, timeout_seconds=60, check=True).text


class TestUp:
    def test_answers_what_xen_is(self, xen1: LabHost) -> None:
        info = xen1.run(["xl", "info"], check=True).text
        assert "xen_major              : 4" in info
        assert "virt_caps              : pv hvm hap" in info

    def test_leaves_a_running_host_alone(self, xen1: LabHost, root: Path) -> None:
        before = _pid(root)
        assert lab.up(say=print, root=root) == [xen1]
        assert _pid(root) == before

    def test_takes_an_argument_literally(self, xen1: LabHost) -> None:
        assert xen1.run(["printf", "%s", "a b; $(id) 'c'"]).text == "a b; $(id) 'c'"

    def test_carries_a_large_file_whole(self, xen1: LabHost, tmp_path: Path) -> None:
        local = tmp_path / "large"
        local.write_bytes(os.urandom(3_000_001) + bytes(5_000_000) + os.urandom(7))
        xen1.put(local, "/var/lib/webxen/it's here", mode=0o640)
        found = xen1.run(
            "cd /var/lib/webxen; stat -c '%s %a' \"it's here\"; md5sum < \"it's here\"", check=True
        )
        digest = hashlib.md5(local.read_bytes(), usedforsecurity=False).hexdigest()
        assert found.text.split() == ["8000008", "640", digest, "-"]

    def test_brings_the_working_trees_worker(self, xen1: LabHost) -> None:
        xen1.push_worker()
        assert xen1.push_worker() is False
        line = (
            "cd /opt/webxen && PYTHONPATH=lib python3 -c 'import worker.contract, celery, redis; print(42)'"
        )
        assert xen1.run(line, timeout_seconds=120).text == "42\n"

    def test_lets_only_the_agent_be_root_and_only_the_listener_knock(self, xen1: LabHost) -> None:
        host_key, _ = keys.generate()
        files = {"/etc/webxen/host.key": host_key, "/etc/webxen/portal.pub": keys.public_of(host_key)}
        xen1.push_worker()
        xen1.configure({"WEBXEN_BROKER_URL": "redis://10.0.2.2:1/0"}, files)
        xen1.restart_services()
        socket = "/run/webxen/agent.sock"
        look = f"for i in $(seq 90); do [ -S {socket} ] && break; sleep 1; done; stat -c '%U:%G %a' {socket}"
        assert xen1.run(look, timeout_seconds=120).text.strip() == "root:webxen 660"
        listener = xen1.service_status()["listener"].split()[1]
        status = xen1.run(["cat", f"/proc/{listener}/status"], check=True).text
        assert "CapEff:\t0000000000000000" in status
        assert "CapBnd:\t0000000000000000" in status
        # not the owner of /proc/PID: of a process that leaves no core dump that is always root
        account = xen1.run(["id", "-u", "webxen"], check=True).text.strip()
        assert f"Uid:\t{account}\t{account}\t{account}\t{account}\n" in status
        agent = xen1.service_status()["agent"].split()[1]
        assert "redis://" not in xen1.run(["cat", f"/proc/{agent}/environ"], check=True).text
        as_listener = "setpriv --reuid=webxen --regid=webxen --init-groups"
        for secret in ("/etc/webxen/host.key", "/etc/webxen/worker.env", "/var/lib/webxen/journal"):
            assert xen1.run(f"{as_listener} cat {secret}").rc != 0, secret
        xen1.stop_services()

    def test_starts_a_service_again_when_it_ends(self, xen1: LabHost) -> None:
        xen1.configure({"WEBXEN_BROKER_URL": "redis://10.0.2.2:1/0"}, {"/etc/webxen/host.key": b"k"})
        xen1.run("cd /etc/webxen/services && rm -f * && echo 'sleep 1000' > only", check=True)
        xen1.restart_services()
        first = xen1.service_status()["only"]
        assert first.startswith("running ")
        xen1.run(["kill", "-9", first.split()[1]], check=True)
        deadline = time.monotonic() + 60
        while xen1.service_status()["only"] in (first, "stopped") and time.monotonic() < deadline:
            time.sleep(0.5)
        assert xen1.service_status()["only"].startswith("running ")
        xen1.stop_services()
        assert xen1.service_status() == {"only": "stopped"}


class TestDown:
    def test_and_up_keep_a_running_machine_and_its_clock(self, xen1: LabHost, root: Path) -> None:
        _create_sleeper(xen1, root)
        domid = xen1.run(["xl", "domid", "sleeper"], check=True).text
        lab.down(root=root)
        paused = lab.status(root=root)[0]
        assert (paused.is_running, paused.is_paused) == (False, True)
        (again,) = lab.up(say=print, root=root)
        assert again.run(["xl", "domid", "sleeper"], check=True).text == domid
        assert abs(float(again.run(["date", "+%s.%N"]).text) - time.time()) < 30
        again.run(["xl", "destroy", "sleeper"], timeout_seconds=120, check=True)


class TestTwoHosts:
    def test_share_storage_and_move_a_running_machine(self, root: Path) -> None:
        xen1, xen2 = lab.up(2, say=print, root=root)
        for host in (xen1, xen2):
            assert host.run(["vgs", "--noheadings", "-o", "vg_name"], check=True).text.split() == ["shared"]
        _create_sleeper(xen1, root)
        moved = xen1.run(["xl", "migrate", "sleeper", "xen2"], timeout_seconds=400)
        assert moved.rc == 0, moved.error_text
        assert xen1.run(["xl", "domid", "sleeper"]).rc != 0
        xen2.run(["xl", "domid", "sleeper"], check=True)
        xen2.run(["xl", "destroy", "sleeper"], timeout_seconds=120, check=True)


class TestTwoProcessors:
    def test_what_is_hidden_lets_a_machine_move_to_the_lesser_one(
        self, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("WEBXEN_LAB_XEN2_LACKS", "adx,bmi2")
        xen1, xen2 = lab.reset(2, say=print, root=root)
        more, fewer = (
            read_features(xl.parse_info(_says(host, "xl info"))["hw_caps"]) for host in (xen1, xen2)
        )
        hidden = tuple(mine & ~its for mine, its in zip(more, fewer, strict=True))
        assert hidden == (0, 0, 0, 0, 0, 1 << 8 | 1 << 19, 0, 0)  # word 5: BMI2, ADX

        # Xen lets it go all the same, and takes away from it what it has seen at its boot.
        _create_sleeper(xen1, root)
        assert _leaf_seven(xen1) & hidden[5] == hidden[5]
        _move_sleeper(xen1, xen2)
        assert _leaf_seven(xen2) & hidden[5] == 0
        xen2.run(["xl", "destroy", "sleeper"], timeout_seconds=120, check=True)

        _create_sleeper(xen1, root, config.write({"cpuid": cpuid_lines(hidden)}))
        given = _leaf_seven(xen1)
        assert given & hidden[5] == 0
        for here, there in ((xen1, xen2), (xen2, xen1)):
            _move_sleeper(here, there)
            assert _leaf_seven(there) == given
        xen1.run(["xl", "destroy", "sleeper"], timeout_seconds=120, check=True)


def _move_sleeper(here: LabHost, there: LabHost) -> None:
    moved = here.run(["xl", "migrate", "sleeper", there.name], timeout_seconds=400)
    assert moved.rc == 0, moved.error_text


def _leaf_seven(host: LabHost) -> int:
    """The ebx of leaf 7 as the sleeper sees it."""
    told = _says(host, "/usr/lib/xen-4.20/bin/xen-cpuid -p $(xl domid sleeper)")
    (line,) = (line for line in told.splitlines() if line.strip().startswith("00000007:00000000"))
    return int(line.split("->")[1].split(":")[1], 16)


class TestKilledQemu:
    def test_loses_its_machines_but_not_their_disks(self, xen1: LabHost, root: Path) -> None:
        xen1.run("echo kept > /var/lib/webxen/mark; sync", check=True)
        os.kill(_pid(root), signal.SIGKILL)
        time.sleep(1)
        (host,) = lab.up(say=print, root=root)
        assert host.run(["cat", "/var/lib/webxen/mark"], check=True).text == "kept\n"
        assert len(host.run(["xl", "list"], check=True).text.splitlines()) == 2

"""The stand-in xl: domains that live and die as real ones do, faults that bite, nothing left behind."""

import os
import re
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from devtools.fakexl import Run, Settings, StandIn, overlaps
from devtools.fakexl.state import is_alive, process_start

UUID = "0199a1e7-2e4a-4a2a-a363-405d99723003"


class Seat:
    """Somebody at a domain's console."""

    def __init__(self, tty: str) -> None:
        self.fd = os.open(tty, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        self.seen = b""

    def read_until(self, text: bytes, seconds: float = 10) -> bytes:
        deadline = time.monotonic() + seconds
        while text not in self.seen:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.fd], [], [], left)[0]:
                raise AssertionError(f"{text!r} was not printed; {self.seen[-500:]!r} was")
            self.seen += os.read(self.fd, 65536)
        return self.seen

    def type(self, text: bytes) -> None:
        self.seen = b""
        os.write(self.fd, text)

    def close(self) -> None:
        os.close(self.fd)


class Desk:
    """A stand-in host and somebody who types xl commands at it."""

    def __init__(self, directory: Path, settings: Settings | None = None) -> None:
        directory.mkdir(exist_ok=True)
        self.host = StandIn.at(directory, settings or Settings(boot_seconds=0.05, shutdown_seconds=0.05))
        (self.host.directory / "vmlinux").touch()

    def run(self, program: str, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        argv = [str(self.host.programs / program), *arguments]
        return subprocess.run(
            argv, capture_output=True, text=True, timeout=30, check=False, env={**os.environ, **env}
        )

    def xl(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        return self.run("xl", *arguments, **env)

    def cfg(self, name: str = "web", uuid: str = UUID, **values: str) -> str:
        disk = self.host.directory / f"{name}.img"
        disk.touch()
        keys = {
            "name": f"'{name}'",
            "uuid": f"'{uuid}'",
            "type": "'pvh'",
            "memory": "128",
            "kernel": f"'{self.host.directory}/vmlinux'",
            "disk": f"['format=raw,vdev=xvda,access=rw,target={disk}']",
            **values,
        }
        path = self.host.directory / f"{name}.cfg"
        path.write_text("".join(f"{key} = {value}\n" for key, value in keys.items()))
        return str(path)

    def names(self) -> list[str]:
        return [line.split()[0] for line in self.xl("list").stdout.splitlines()[2:]]

    def seat(self, name: str = "web") -> Seat:
        domid = self.xl("domid", name).stdout.strip()
        return Seat(self.run("xenstore-read", f"/local/domain/{domid}/console/tty").stdout.strip())


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path / "xen1")
    yield desk
    desk.host.power_off()
    errors = desk.host.directory / "domain-errors.log"
    assert not errors.exists(), errors.read_text()


def wait_for(truth: Callable[[], object], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not truth():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


class TestGuest:
    def test_boots_to_a_prompt_and_answers_like_a_xen_guest(self, desk: Desk) -> None:
        assert desk.xl("create", desk.cfg()).stderr == f"Parsing config from {desk.cfg()}\n"
        seat = desk.seat()
        boot = seat.read_until(b"web login: ")
        assert boot.startswith(b"[    0.000000] Linux version")
        assert b"Run /sbin/init as init process" in boot
        seat.type(b"root\r")
        seat.read_until(b":~# ")
        seat.type(b"echo web''xen $((40+2)); cat /sys/hypervisor/type\r")
        assert b"\r\nwebxen 42\r\nxen\r\n" in seat.read_until(b":~# ")
        seat.type("echo приве\x7fет\r".encode())
        assert "\r\nпривет\r\n".encode() in seat.read_until(b":~# ")
        seat.close()

    def test_a_flood_is_braked_and_ends_at_ctrl_c(self, desk: Desk) -> None:
        desk.xl("create", "-q", desk.cfg())
        seat = desk.seat()
        seat.read_until(b"login: ")
        seat.type(b"root\ryes\r")
        seat.read_until(b"y\r\n" * 20_000, seconds=30)
        seat.type(b"\x03")
        seat.read_until(b"^C\r\nroot@web:~# ")
        seat.type(b"seq 1 20000\r")
        text = seat.read_until(b"20000\r\nroot@web:~# ", seconds=30)
        assert text.count(b"\r\n") == 20_001
        seat.close()

    def test_poweroff_inside_ends_the_domain(self, desk: Desk) -> None:
        desk.xl("create", "-q", desk.cfg())
        seat = desk.seat()
        seat.read_until(b"login: ")
        seat.type(b"root\rpoweroff\r")
        wait_for(lambda: desk.names() == [])
        seat.close()
        assert desk.host.runs()[0].stop < time.time()

    def test_reboot_comes_back_as_another_domain(self, desk: Desk) -> None:
        desk.xl("create", "-q", desk.cfg())
        before = desk.xl("domid", "web").stdout
        desk.seat().read_until(b"login: ")
        assert desk.xl("reboot", "web").stderr == f"Rebooting domain {before}"
        wait_for(lambda: desk.xl("domid", "web").stdout not in {before, ""})
        desk.seat().read_until(b"login: ")
        assert [run.stop != float("inf") for run in desk.host.runs()] == [True, False]
        assert overlaps([desk.host.directory]) == []

    def test_an_ended_guest_holds_its_name_for_a_moment(self, tmp_path: Path) -> None:
        desk = Desk(tmp_path / "slow", Settings(boot_seconds=0, shutdown_seconds=0, linger_seconds=6))
        try:
            desk.xl("create", "-q", desk.cfg())
            desk.seat().read_until(b"login: ")
            assert desk.xl("shutdown", "-w", "web").stderr.endswith("has been shut down, reason code 0\n")
            assert "--ps--" in desk.xl("list").stdout
            assert "already exists" in desk.xl("create", desk.cfg()).stderr
            wait_for(lambda: desk.names() == [], 30)
        finally:
            desk.host.power_off()

    def test_the_name_at_the_prompt_comes_from_the_disk(self, desk: Desk) -> None:
        if not shutil.which("mke2fs"):
            pytest.skip("mke2fs is not installed")
        root = desk.host.directory / "root"
        (root / "etc").mkdir(parents=True)
        (root / "etc/hostname").write_text("from-disk\n")
        cfg = desk.cfg()
        disk = str(desk.host.directory / "web.img")
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", str(root), disk, "4M"], check=True, timeout=30)
        desk.xl("create", "-q", cfg)
        desk.seat().read_until(b"from-disk login: ")

    @pytest.mark.parametrize(
        ("fault", "last"), [("panic", b"Kernel panic"), ("no_login", b"Run /sbin/init as init process")]
    )
    def test_guests_that_never_come_up(self, desk: Desk, fault: str, last: bytes) -> None:
        desk.host.lay_out(guest={fault: True})
        desk.xl("create", "-q", "-p", desk.cfg())
        seat = desk.seat()
        # read from the first byte on: a terminal that is hung up loses what nobody has read
        with ThreadPoolExecutor(1) as reader:
            read = reader.submit(seat.read_until, last)
            desk.xl("unpause", "web")
            read.result()
        time.sleep(0.3)
        assert b"login:" not in seat.seen
        wait_for(lambda: desk.names() == ([] if fault == "panic" else ["web"]))
        seat.close()

    def test_a_guest_that_ignores_the_wish_to_power_off(self, desk: Desk) -> None:
        desk.host.lay_out(guest={"ignores_shutdown": True})
        desk.xl("create", "-q", desk.cfg())
        desk.seat().read_until(b"login: ")
        assert desk.xl("shutdown", "web").returncode == 0
        time.sleep(0.5)
        assert desk.names() == ["web"]


class TestHost:
    def test_a_domain_outlives_its_xl_and_dies_when_destroyed(self, desk: Desk) -> None:
        desk.xl("create", "-q", desk.cfg())
        (mark,) = (desk.host.directory / "pids").iterdir()
        pid, start = int(mark.name), mark.read_text()
        assert is_alive(pid, start)
        assert desk.xl("destroy", "web").returncode == 0
        assert not is_alive(pid, start)
        assert process_start(pid) != start

    def test_a_paused_guest_does_nothing_until_it_is_let_go(self, desk: Desk) -> None:
        desk.xl("create", "-q", "-p", desk.cfg())
        assert "--p---" in desk.xl("list").stdout
        seat = desk.seat()
        assert not select.select([seat.fd], [], [], 0.5)[0]
        desk.xl("unpause", "web")
        seat.read_until(b"login: ")
        seat.close()

    def test_a_power_cut_leaves_no_domain(self, desk: Desk) -> None:
        for index in range(3):
            desk.xl("create", "-q", desk.cfg(f"m{index}", f"0199a1e7-2e4a-4a2a-a363-00000000000{index}"))
        assert len(desk.host.power_off()) == 3
        assert desk.names() == []
        assert all(run.stop != float("inf") for run in desk.host.runs())

    def test_shutting_down_domain_0_takes_everything_along(self, desk: Desk) -> None:
        desk.xl("create", "-q", desk.cfg())
        assert desk.xl("shutdown", "0").returncode == 0
        assert desk.names() == []

    def test_xenstore_names_the_uuid_and_the_console(self, desk: Desk) -> None:
        desk.xl("create", "-q", desk.cfg())
        domid = desk.xl("domid", "web").stdout.strip()
        assert desk.run("xenstore-list", "/local/domain").stdout == f"0\n{domid}\n"
        assert desk.run("xenstore-read", f"/local/domain/{domid}/vm").stdout == f"/vm/{UUID}\n"
        assert f'name = "web"\nuuid = "{UUID}"\n' in desk.run("xenstore-ls", f"/vm/{UUID}").stdout
        absent = desk.run("xenstore-read", "/local/domain/77/vm")
        assert (absent.returncode, absent.stderr) == (
            *(1, "xenstore-read: couldn't read path /local/domain/77/vm\n"),
        )

    def test_a_watch_rings_when_domains_come_and_go_and_ends_with_its_reader(self, desk: Desk) -> None:
        watch = subprocess.Popen(
            [str(desk.host.programs / "xenstore-watch"), "@introduceDomain", "@releaseDomain"],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert watch.stdout is not None
        assert [watch.stdout.readline() for _ in range(2)] == ["@introduceDomain\n", "@releaseDomain\n"]
        desk.xl("create", "-q", desk.cfg())
        assert watch.stdout.readline() == "@introduceDomain\n"
        desk.xl("destroy", "web")
        assert watch.stdout.readline() == "@releaseDomain\n"
        watch.stdout.close()
        assert watch.wait(timeout=10) == 0


class TestFaults:
    def test_a_create_that_fails_although_the_domain_runs(self, desk: Desk) -> None:
        desk.host.lay_out(create={"at": "domain", "exit": 1})
        assert desk.xl("create", desk.cfg()).returncode == 1
        assert desk.names() == ["web"]

    def test_a_create_that_ends_well_without_a_domain(self, desk: Desk) -> None:
        desk.host.lay_out(create={"exit": 0})
        assert desk.xl("create", desk.cfg()).returncode == 0
        assert desk.names() == []

    @pytest.mark.parametrize(("step", "names"), [("parsed", []), ("domain", ["web"]), ("done", ["web"])])
    def test_an_xl_that_is_killed_at_a_step(self, desk: Desk, step: str, names: list[str]) -> None:
        assert desk.xl("create", desk.cfg(), FX_KILL_AFTER=f"create:{step}").returncode == -9
        assert desk.names() == names

    def test_a_fault_that_happens_twice_only(self, desk: Desk) -> None:
        desk.host.lay_out(list={"exit": 1, "times": 2})
        assert [desk.xl("list").returncode for _ in range(4)] == [1, 1, 0, 0]

    def test_the_environment_lays_out_faults_too(self, desk: Desk) -> None:
        desk.xl("create", "-q", desk.cfg())
        assert "(null)" in desk.xl("list", FX_NULL_NAME="1").stdout
        assert len(desk.xl("list", FX_CUT_AT="100").stdout) == 100
        assert desk.xl("destroy", "web", FX_EXIT="destroy:4").returncode == 4
        full = desk.xl("create", desk.cfg("other"), FX_ENOSPC="1")
        assert (full.returncode, "No space left on device" in full.stderr) == (1, True)
        began = time.monotonic()
        desk.xl("info", FX_SLOW="info:0.7")
        assert time.monotonic() - began > 0.7

    def test_a_stuck_xl_does_not_hear_sigterm_and_holds_up_nobody(self, desk: Desk) -> None:
        desk.host.lay_out(create={"hang": True, "at": "parsed"})
        stuck = subprocess.Popen([desk.host.xl, "create", desk.cfg()], stderr=subprocess.DEVNULL)
        while not ignores(stuck.pid, signal.SIGTERM):
            time.sleep(0.05)
        stuck.terminate()
        time.sleep(0.3)
        assert stuck.poll() is None
        assert desk.xl("list").returncode == 0
        stuck.kill()
        stuck.wait(timeout=5)


def ignores(pid: int, number: int) -> bool:
    (mask,) = re.findall(r"^SigIgn:\s*(\w+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return bool(int(mask, 16) >> (number - 1) & 1)


class TestRecording:
    def test_a_machine_that_runs_on_two_hosts_is_found(self, desk: Desk, tmp_path: Path) -> None:
        other = Desk(tmp_path / "xen2", Settings(host="xen2"))
        try:
            desk.xl("create", "-q", desk.cfg())
            other.xl("create", "-q", other.cfg())
            desk.xl("destroy", "web")
            (overlap,) = overlaps([desk.host.directory, other.host.directory])
            assert (overlap.uuid, overlap.first.host, overlap.second.host) == (UUID, "xen1", "xen2")
        finally:
            other.host.power_off()

    def test_one_after_the_other_is_no_overlap(self, desk: Desk) -> None:
        for _ in range(2):
            desk.xl("create", "-q", desk.cfg())
            desk.xl("destroy", "web")
        first, second = desk.host.runs()
        assert isinstance(first, Run)
        assert first.stop <= second.start
        assert overlaps([desk.host.directory]) == []


@pytest.mark.slow
class TestManyDomains:
    def test_twenty_domains_run_and_all_go(self, desk: Desk) -> None:
        for index in range(20):
            made = desk.xl(
                "create", "-q", desk.cfg(f"m{index}", f"0199a1e7-2e4a-4a2a-a363-0000000000{index:02}")
            )
            assert made.returncode == 0, made.stderr
        assert len(desk.names()) == 20
        assert len(desk.host.power_off()) == 20
        assert desk.names() == []

"""How far a guest has booted, as its console shows it; and the ends of programs that hang."""

import time
from pathlib import Path

import pytest

from tests.worker.worker_host import run
from worker import shell
from worker.contract import readable_console
from worker.guest import readiness
from worker.guest.readiness import Watch
from worker.images.seed_files import fstab_with, inittab_with, shadow_with


class TestWatch:
    def test_phases_show_in_order_and_once(self, tmp_path: Path) -> None:
        log = tmp_path / "x.log"
        watch = Watch(log, 0)
        assert watch.read() == []
        log.write_bytes(b"[    0.000000] Linux version 6.12\r\n")
        assert watch.read() == ["KERNEL"]
        with log.open("ab") as out:
            out.write(b"[    1.0] Run /sbin/init as init process\r\nxen1 lo")
        assert watch.read() == ["INIT"]
        with log.open("ab") as out:
            out.write(b"gin: ")  # cut in two by a read
        assert watch.read() == ["LOGIN"]
        assert watch.read() == []

    def test_a_quiet_kernel_is_booted_all_the_same(self, tmp_path: Path) -> None:
        (tmp_path / "x.log").write_bytes(b"\r\nDebian 13 hvc0\r\n\r\nweb1 login: ")
        assert Watch(tmp_path / "x.log", 0).read() == ["KERNEL", "INIT", "LOGIN"]

    def test_an_earlier_boots_prompt_does_not_count(self, tmp_path: Path) -> None:
        log = tmp_path / "x.log"
        log.write_bytes(b"old login: ")
        watch = Watch(log, readiness.size_of(log))
        with log.open("ab") as out:
            out.write(b"Last login: yesterday\r\n")
        assert watch.read() == []

    def test_a_log_begun_anew_is_read_from_its_start(self, tmp_path: Path) -> None:
        log = tmp_path / "x.log"
        log.write_bytes(b"x" * 1000)
        watch = Watch(log, 1000)
        log.write_bytes(b"web1 login: ")
        assert "LOGIN" in watch.read()

    def test_the_tail_is_plain_text(self, tmp_path: Path) -> None:
        log = tmp_path / "x.log"
        lines = b"".join(b"line %d\r\n" % number for number in range(100))
        log.write_bytes(b"\x1b[1;31mred\x1b[0m\x07\r\n\x1b]0;title\x07<b>\xff\r\n" + lines)
        tail = readiness.tail(log, start=0)
        assert len(tail.splitlines()) == 40
        assert "\x1b" not in tail
        assert readable_console("\x1b[1;31mred\x1b[0m\x07\x00!") == "red!"


def frames(count: int, job: str, *, end: str = "") -> str:
    """What systemd draws while it waits: one line over and over, each time with another second."""
    return "".join(
        f"\r\x1b[K[\x1b[0;31m{' ' * (n % 5)}*\x1b[0m{' ' * (5 - n % 5)}] ({n % 2 + 1} of 2) "
        f"Job {job} running (1min {n % 60}s / no limit){end}"
        for n in range(count)
    )


class TestEvidence:
    CAUSE = "[\x1b[0;1;31m TIME \x1b[0m] Timed out waiting for device \x1b[0;1;39mdev-hvc0.device\x1b[0m."

    @pytest.mark.parametrize("end", ["", "\r", "\n", "\r\n"])
    def test_the_cause_is_there_after_ten_minutes_of_a_spinner(self, tmp_path: Path, end: str) -> None:
        log = tmp_path / "x.log"
        text = f"Welcome to Debian\r\n{frames(200, 'dev-hvc0.device/start', end=end)}\r\x1b[K{self.CAUSE}\r\n"
        log.write_text(f"{text}{frames(1800, 'ssh.service/start', end=end)}", newline="")
        lines = readiness.tail(log, start=0).splitlines()
        assert lines[0] == "Welcome to Debian"
        assert lines[-2] == "[ TIME ] Timed out waiting for device dev-hvc0.device."
        assert lines[-1].endswith("Job ssh.service/start running (1min 59s / no limit)")
        assert len(lines) <= 4

    def test_each_job_that_is_waited_for_keeps_its_last_frame(self) -> None:
        text = "".join(
            f"[  *** ] (1 of 2) Job a.mount/start running ({n}s / 1min 30s)\n"
            f"[ ***  ] (2 of 2) Job b.mount/start running ({n}s / 1min 30s)\n"
            for n in range(9)
        )
        assert readable_console(text).splitlines() == [
            "[  *** ] (1 of 2) Job a.mount/start running (8s / 1min 30s)",
            "[ ***  ] (2 of 2) Job b.mount/start running (8s / 1min 30s)",
        ]

    def test_a_line_said_again_is_counted(self) -> None:
        text = "a\n" + "waiting\n" * 12 + "[    1.5] xen: lost\n[   12.75] xen: lost\nb\n"
        shown = "a\nwaiting (×12)\n[   12.75] xen: lost (×2)\nb"
        assert readable_console(text) == shown
        assert readable_console(shown) == shown

    def test_shows_what_a_terminal_would(self) -> None:
        assert readable_console("10 %\r20 %\r100 %\r\nabcdef\rXY\r\nold words\r\x1b[Know\n") == (
            "100 %\nXYcdef\nnow"
        )

    def test_a_line_drawn_over_a_hundred_thousand_times_is_read(self) -> None:
        assert readable_console("x" * 500_000 + "\ry" * 100_000).startswith("yx")


class TestSeedTexts:
    def test_root_gets_a_password_wherever_its_line_is(self) -> None:
        assert shadow_with("bin:*:1::::::\nroot:!:1::::::\n", "$6$x") == "bin:*:1::::::\nroot:$6$x:1::::::\n"
        assert shadow_with("", "$6$x").startswith("root:$6$x:")

    def test_there_is_one_root_in_fstab(self) -> None:
        text = fstab_with(
            "# /dev/sda1 / ext3\nUUID=1 / ext3 defaults 0 1\n/dev/hda2 /home ext3 d 0 0\n", "/dev/xvda"
        )
        assert [line.split()[:2] for line in text.splitlines() if not line.startswith("#")] == [
            ["/dev/xvda", "/"],
            ["/dev/hda2", "/home"],
        ]

    def test_both_dialects_of_inittab(self) -> None:
        system_v = inittab_with("id:3:initdefault:\nsi::sysinit:/etc/rc.d/rc.sysinit\n", "/sbin/mingetty")
        assert system_v.endswith("\nh0:2345:respawn:/sbin/mingetty hvc0\n")
        busybox = inittab_with(
            "::sysinit:/etc/init.d/rcS\ntty1::respawn:/sbin/getty 38400 tty1\n", "/sbin/getty"
        )
        assert busybox.endswith("\nhvc0::respawn:/sbin/getty 38400 hvc0\n")


class TestShell:
    def test_what_hangs_is_ended_with_all_it_started(self, tmp_path: Path) -> None:
        began = time.monotonic()
        script = f"trap '' TERM; sleep 54321 & echo $! > {tmp_path}/pid; wait"
        with pytest.raises(shell.CommandTimedOut):
            shell.run(["sh", "-c", script], timeout_seconds=1)
        assert time.monotonic() - began < 20
        time.sleep(0.2)
        pid = (tmp_path / "pid").read_text().strip()
        assert not Path(f"/proc/{pid}").exists() or "Z" in run("cat", f"/proc/{pid}/stat").split()[2]

    def test_what_left_the_group_and_keeps_the_pipe_does_not_keep_us(self) -> None:
        began = time.monotonic()
        with pytest.raises(shell.CommandTimedOut):
            shell.run(["sh", "-c", "setsid sleep 15 & sleep 15"], timeout_seconds=1)
        assert time.monotonic() - began < 12

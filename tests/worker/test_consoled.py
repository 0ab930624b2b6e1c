"""The console service as a process: what a guest prints reaches log and stream once, whatever is killed."""

import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.worker.console_bench import HOST, Broker, ConsoleHost, wait_for
from worker.contract import console_in_key, console_out_key


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    broker = Broker(tmp_path)
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
def host(tmp_path: Path, broker: Broker) -> Iterator[ConsoleHost]:
    host = ConsoleHost(tmp_path, broker)
    yield host
    host.close()


def open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def same(look: Callable[[str], bytes], machine_id: str, said: bytearray) -> bool:
    return look(machine_id) == bytes(said)


class TestOutput:
    def test_what_a_guest_printed_before_anybody_looked_is_kept(self, host: ConsoleHost) -> None:
        machine = host.machine()
        guest = host.boot(machine, 1)
        guest.prints(b"Linux version 6.12\r\n")
        host.start()
        wait_for(lambda: host.published(machine) == b"Linux version 6.12\r\n", "the boot log")
        assert host.log_of(machine) == b"Linux version 6.12\r\n"
        wait_for(lambda: host.state(machine)["end"] == "20", "the end to be told")

    def test_a_domain_that_comes_later_is_found_by_the_watcher(self, host: ConsoleHost) -> None:
        host.start()
        machine = host.machine()
        time.sleep(1)
        began = time.monotonic()
        host.boot(machine, 7).prints(b"hello")
        wait_for(lambda: host.published(machine) == b"hello", "the output")
        assert time.monotonic() - began < 4  # sooner than the clock would

    def test_a_domain_whose_console_appears_late_is_found(self, host: ConsoleHost) -> None:
        machine = host.machine()
        guest = host.boot(machine, 1)
        host.write("/local/domain/1/console/tty", "")
        host.start()
        time.sleep(1)
        host.write("/local/domain/1/console/tty", guest.device)  # no bell rings for this
        guest.prints(b"late")
        # before the clock strikes, every CLOCK_SECONDS
        wait_for(lambda: host.published(machine) == b"late", "the output", 12)

    def test_a_domain_that_is_long_without_a_console_is_waited_for_and_not_asked_about(
        self, host: ConsoleHost
    ) -> None:
        machine_id = host.machine()
        guest = host.boot(machine_id, 1)
        (host.store / "local/domain/1/console/tty").unlink()
        host.start()
        time.sleep(8)  # longer than it is asked about each second
        asked = host.times_asked()
        time.sleep(2)
        assert host.times_asked() == asked
        host.write("/local/domain/1/console/tty", guest.device)
        # before the clock strikes, every CLOCK_SECONDS
        wait_for(lambda: host.state(machine_id).get("state") == "attached", "the console", 6)

    def test_domains_that_are_not_ours_are_left_alone(self, host: ConsoleHost) -> None:
        machine = host.machine()
        ours = host.boot(machine, 1)
        stranger = host.boot("11111111-2222-3333-4444-555555555555", 2)
        stranger.prints(b"secret")
        ours.prints(b"ours")
        host.start()
        wait_for(lambda: host.published(machine) == b"ours", "the output")
        os.set_blocking(stranger._slave, False)
        assert os.read(stranger._slave, 100) == b"secret"

    def test_offsets_grow_over_reboots(self, host: ConsoleHost) -> None:
        machine = host.machine()
        host.start()
        first = host.boot(machine, 1)
        first.prints(b"first boot\r\n")
        wait_for(lambda: host.published(machine) == b"first boot\r\n", "the first boot")
        first.ends()
        # the pty's end is seen first, the domain's a moment later
        wait_for(lambda: host.state(machine)["reason"] == "the machine is not running", "the end")
        assert host.state(machine)["state"] == "detached"
        host.boot(machine, 2).prints(b"second boot\r\n")
        wait_for(lambda: host.published(machine) == b"first boot\r\nsecond boot\r\n", "the second boot")
        host.wait_attached(machine)

    def test_a_restart_in_the_midst_of_a_flood_loses_no_byte_and_doubles_none(
        self, host: ConsoleHost
    ) -> None:
        machine = host.machine()
        guest = host.boot(machine, 1)
        said = random.Random(7).randbytes(300_000)
        host.start()
        host.wait_attached(machine)
        printing = threading.Thread(target=guest.prints, args=(said,))
        printing.start()
        for _ in range(3):
            wait_for(lambda: host.log_of(machine), "some bytes")
            assert host.stop() == 0
            host.start()
            host.wait_attached(machine)
        printing.join(30)
        wait_for(lambda: len(host.log_of(machine)) >= len(said), "all bytes")
        assert host.log_of(machine) == said
        wait_for(lambda: host.published(machine) == said, "all bytes in the stream, once")

    def test_a_killed_service_doubles_no_byte_and_loses_none_it_had_not_read(self, host: ConsoleHost) -> None:
        machine = host.machine()
        guest = host.boot(machine, 1)
        said = bytearray()
        dice = random.Random(7)
        host.start()
        host.wait_attached(machine)
        for number in range(4):
            piece = dice.randbytes(2000)
            guest.prints(piece)
            said += piece
            # killed before or after the stream has it
            reached = host.log_of if number % 2 else host.published
            wait_for(partial(same, reached, machine, said), "the output")
            host.kill()
            guest.prints(b"nobody is listening")
            said += b"nobody is listening"
            host.start()
        wait_for(lambda: host.published(machine) == said, "all bytes in the stream, once")
        assert host.log_of(machine) == said

    def test_the_stream_keeps_about_a_mebibyte(self, host: ConsoleHost) -> None:
        machine = host.machine()
        guest = host.boot(machine, 1)
        host.start()
        line = b"x" * 1023 + b"\n"
        for _ in range(5 * 1024):
            guest.prints(line)
        wait_for(lambda: host.state(machine).get("end") == str(5 << 20), "five mebibytes", 40)
        kept = host.published(machine)
        assert (1 << 20) <= len(kept) < (1 << 20) + (512 << 10)
        assert len(host.log_of(machine)) <= 4 << 20


class TestInput:
    def test_what_is_typed_reaches_the_guest_and_stays_nowhere(self, host: ConsoleHost) -> None:
        machine = host.machine()
        guest = host.boot(machine, 1)
        host.start()
        host.wait_attached(machine)
        host.types(machine, b"pass\x1dword\r")
        assert guest.hears(10) == b"pass\x1dword\r"
        with host.broker.client() as client:
            wait_for(lambda: client.xlen(console_in_key(HOST, machine)) == 0, "the keystrokes to be gone")

    def test_a_large_paste_arrives_whole_and_a_stuck_guest_stops_nobody_else(self, host: ConsoleHost) -> None:
        slow, quick = host.machine(), host.machine()
        slow_guest, quick_guest = host.boot(slow, 1), host.boot(quick, 2)
        host.start()
        host.wait_attached(slow)
        host.wait_attached(quick)
        paste = bytes(range(256)) * 1200
        for at in range(0, len(paste), 8192):
            host.types(slow, paste[at : at + 8192])
        time.sleep(0.5)
        host.types(quick, b"ping")
        assert quick_guest.hears(4, 3) == b"ping"
        assert slow_guest.hears(len(paste), 20) == paste

    def test_old_keystrokes_are_not_typed_at_a_new_boot(self, host: ConsoleHost) -> None:
        machine = host.machine()
        with host.broker.client() as client:
            client.xadd(console_in_key(HOST, machine), {"d": b"rm -rf /\r"}, id="1000-0")
        guest = host.boot(machine, 1)
        host.start()
        host.wait_attached(machine)
        host.types(machine, b"new")
        assert guest.hears(12, 2) == b"new"


class TestFaults:
    def test_the_log_grows_while_redis_is_away_and_the_stream_catches_up(self, host: ConsoleHost) -> None:
        machine = host.machine()
        guest = host.boot(machine, 1)
        host.start()
        guest.prints(b"before ")
        wait_for(lambda: host.published(machine) == b"before ", "the output")
        host.broker.stop()
        guest.prints(b"meanwhile login: ")
        wait_for(lambda: host.log_of(machine) == b"before meanwhile login: ", "the log", 2)
        host.broker.start()
        guest.prints(b"after")
        wait_for(lambda: host.published(machine) == b"before meanwhile login: after", "the stream")
        host.types(machine, b"x")
        assert guest.hears(1) == b"x"

    def test_a_redis_that_forgot_everything_is_filled_again(self, host: ConsoleHost) -> None:
        machine = host.machine()
        guest = host.boot(machine, 1)
        host.start()
        guest.prints(b"one ")
        wait_for(lambda: host.published(machine) == b"one ", "the output")
        with host.broker.client() as client:
            client.flushall()
        guest.prints(b"two ")
        wait_for(lambda: list(host.pieces(machine)), "new bytes")
        with host.broker.client() as client:
            client.client_kill_filter(_type="normal", skipme=True)
        guest.prints(b"three")
        wait_for(lambda: host.published(machine) == b"one two three", "the whole log")

    def test_the_stream_never_runs_backwards_when_the_log_is_lost(self, host: ConsoleHost) -> None:
        machine = host.machine()
        guest = host.boot(machine, 1)
        host.start()
        guest.prints(b"0123456789")
        wait_for(lambda: host.published(machine) == b"0123456789", "the output")
        host.kill()
        (host.state_dir / "console" / f"{machine}.log").unlink()
        guest.prints(b"abc")
        host.start()
        wait_for(lambda: host.published(machine) == b"0123456789abc", "the new bytes after the old ones")

    def test_a_reused_device_never_shows_a_strangers_console(self, host: ConsoleHost) -> None:
        """The xenstore still names the dead domain's device, which is somebody else's by now."""
        machine = host.machine()
        host.start()
        dead = host.boot(machine, 1)
        dead.prints(b"mine")
        wait_for(lambda: host.published(machine) == b"mine", "the output")
        dead.ends(is_entry_left=True)
        # the service lets go of the device, which makes its number free
        wait_for(lambda: host.state(machine)["state"] == "detached", "the end")
        stranger = host.boot("11111111-2222-3333-4444-555555555555", 2, device=dead.device)
        stranger.prints(b"not yours")
        time.sleep(2)
        host.ring()
        time.sleep(1)
        assert host.published(machine) == b"mine"
        assert host.state(machine)["state"] == "detached"

    def test_a_domid_used_again_by_a_stranger_is_let_go(self, host: ConsoleHost) -> None:
        machine = host.machine()
        guest = host.boot(machine, 1)
        host.start()
        host.wait_attached(machine)
        host.write("/local/domain/1/vm", "/vm/11111111-2222-3333-4444-555555555555")
        host.ring()
        wait_for(lambda: host.state(machine)["state"] == "detached", "letting go")
        guest.prints(b"not yours")
        time.sleep(0.5)
        assert host.published(machine) == b""

    def test_stops_in_words(self, host: ConsoleHost) -> None:
        machine = host.machine()
        host.boot(machine, 1)
        host.start()
        host.wait_attached(machine)
        assert host.stop() == 0
        assert host.state(machine)["reason"] == "the host's console service is stopping"

    def test_no_descriptor_is_left_behind(self, host: ConsoleHost) -> None:
        machine = host.machine()
        host.start()

        def attach_and_end(domid: int) -> None:
            guest = host.boot(machine, domid)
            host.wait_attached(machine)
            guest.ends()
            wait_for(lambda: host.state(machine)["state"] == "detached", "the end")

        attach_and_end(1)
        time.sleep(1)
        before = open_files(host.pid)
        for domid in range(2, 8):
            attach_and_end(domid)
        # a look that is just running holds pipes for a moment; one more connection to the broker may be kept
        wait_for(lambda: open_files(host.pid) <= before + 1, "as many descriptors as before")

    def test_state_goes_away_when_the_service_is_silent(self, host: ConsoleHost) -> None:
        machine = host.machine()
        host.boot(machine, 1)
        host.start()
        host.wait_attached(machine)
        with host.broker.client() as client:
            left = client.ttl(f"dom0.{HOST}.console.{machine}.state")
            assert 0 < left <= 30
            assert client.ttl(console_out_key(HOST, machine)) > 86400

"""systemd is told that the agent is ready and works, over a real socket, and no more once it hangs."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.worker.worker_host import WorkerHost
from worker.watchdog import IDLE_SECONDS, Watchdog

ROOT = Path(__file__).resolve().parents[2]
#: the agent, whose loop that lets connections in can be made to hang by a file
AGENT = """
import sys, time
from pathlib import Path
from worker import failpoints
from worker.agent import daemon
daemon.LOOK_SECONDS, daemon.ACCEPT_SECONDS = 0.1, 0.5
def reach(name):
    while name == "the agent listens" and Path(sys.argv[1]).exists():
        time.sleep(0.1)
failpoints.listener = reach
daemon.main()
"""


class Systemd:
    """The socket that services tell how they are."""

    def __init__(self, path: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(f"\0{path[1:]}" if path.startswith("@") else path)

    def hear(self, *, seconds: float) -> str:
        """The next message; "" where none comes in time."""
        self.socket.settimeout(seconds)
        try:
            return self.socket.recv(4096).decode()
        except TimeoutError:
            return ""

    def wait_for_silence(self, *, of_seconds: float, within_seconds: float) -> bool:
        deadline = time.monotonic() + within_seconds
        while time.monotonic() < deadline:
            if not self.hear(seconds=of_seconds):
                return True
        return False


@pytest.fixture
def notify(tmp_path: Path) -> Iterator[Systemd]:
    systemd = Systemd(str(tmp_path / "notify"))
    yield systemd
    systemd.socket.close()


class TestAgent:
    def test_is_ready_works_and_says_no_more_where_it_hangs(
        self, worker_host: WorkerHost, notify: Systemd, tmp_path: Path
    ) -> None:
        hangs = tmp_path / "hangs"
        env = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "900000"}
        process = worker_host.process("-c", AGENT, str(hangs), log="agent.txt", env=env)
        assert notify.hear(seconds=60) == "READY=1", (worker_host.directory / "agent.txt").read_text()
        assert [notify.hear(seconds=10) for _ in range(3)] == ["WATCHDOG=1"] * 3
        hangs.touch()
        assert notify.wait_for_silence(of_seconds=3, within_seconds=30)
        assert "not seen in time: the socket for orders" in (worker_host.directory / "agent.txt").read_text()
        hangs.unlink()
        assert notify.hear(seconds=10) == "WATCHDOG=1"
        process.send_signal(signal.SIGTERM)
        while (said := notify.hear(seconds=10)) == "WATCHDOG=1":
            pass
        assert said == "STOPPING=1"
        assert process.wait(20) == 0

    def test_what_it_starts_does_not_speak_for_it(self, notify: Systemd) -> None:
        environment = {
            "NOTIFY_SOCKET": notify.socket.getsockname(),
            "WATCHDOG_USEC": "900000",
            "PATH": "/bin",
        }
        Watchdog(environment).say_ready()
        assert environment == {"PATH": "/bin"}
        assert notify.hear(seconds=1) == "READY=1"


class TestWatchdog:
    def test_is_silent_where_no_systemd_is(self) -> None:
        watchdog = Watchdog({})
        assert watchdog.interval_seconds == IDLE_SECONDS
        watchdog.say_ready()
        assert watchdog.say_alive()

    def test_speaks_three_times_within_the_limit(self, notify: Systemd) -> None:
        environment = {"NOTIFY_SOCKET": notify.socket.getsockname(), "WATCHDOG_USEC": "60000000"}
        assert Watchdog(environment).interval_seconds == 20

    def test_knows_a_socket_of_the_abstract_kind(self) -> None:
        name = f"@webxen-test-{os.getpid()}"
        systemd = Systemd(name)
        Watchdog({"NOTIFY_SOCKET": name}).say_ready()
        assert systemd.hear(seconds=1) == "READY=1"
        systemd.socket.close()

    def test_a_late_loop_is_named_until_it_is_seen_again(self) -> None:
        now = [0.0]
        watchdog = Watchdog({}, clock=lambda: now[0])
        watchdog.seen("a", longest_seconds=5)
        watchdog.seen("b", longest_seconds=50)
        now[0] = 10.0
        assert (watchdog.late(), watchdog.say_alive()) == (["a"], False)
        watchdog.seen("a", longest_seconds=5)
        assert (watchdog.late(), watchdog.say_alive()) == ([], True)


class TestUnits:
    @pytest.mark.parametrize("name", ["webxen-agent", "webxen-consoled"])
    def test_let_systemd_start_a_hung_service_again(self, name: str) -> None:
        unit = (ROOT / f"packaging/systemd/{name}.service").read_text().splitlines()
        assert {"Type=notify", "WatchdogSec=60", "Restart=always"} <= set(unit)

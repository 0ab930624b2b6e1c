"""The agent: who may knock, what it reads, what it does with too much, and when a report counts as told."""

import contextlib
import logging
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.worker.console_bench import ROOT, wait_for
from tests.worker.worker_host import WorkerHost
from worker.agent import daemon
from worker.agent.daemon import OrderQueue, SocketServer
from worker.contract import MAX_ENVELOPE_BYTES, TASK_OBSERVATION, TASK_REPORT, CancelJob
from worker.identity import keys
from worker.ipc import local_socket
from worker.ipc.errors import PortalAway
from worker.ipc.local_socket import AgentUnavailable, BadFrame, Word
from worker.ipc.outbox import Outbox
from worker.settings import SettingsError, read
from worker.watchdog import Watchdog

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


class Desk:
    """An agent's hall in this process, on the worker_host's socket."""

    def __init__(self, worker_host: WorkerHost) -> None:
        self.worker_host = worker_host
        self.path = worker_host.settings.agent_socket
        self.dom0 = worker_host.dom0()
        self.admission = OrderQueue(self.dom0)
        self.listeners = 0
        self.outbox = Outbox(on_listener=self._count)
        self.listener = local_socket.listen(self.path, group=None)
        hall = SocketServer(
            self.listener, uids={os.geteuid()}, admit=self.admit, outbox=self.outbox, watchdog=Watchdog({})
        )
        threading.Thread(target=hall.receive_for_ever, daemon=True).start()

    def admit(self, envelope: str) -> Word:
        return self.admission.take(envelope, now=int(time.time()))

    def _count(self) -> None:
        self.listeners += 1

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        assert self.admission.close(timeout_seconds=20)


@pytest.fixture
def desk(worker_host: WorkerHost) -> Iterator[Desk]:
    desk = Desk(worker_host)
    yield desk
    desk.close()


class TestTheProcess:
    def test_knows_no_celery_no_broker_and_no_network_library(self) -> None:
        strangers = "celery kombu redis amqp billiard vine asyncio http urllib3 websockets"
        code = (
            "import sys, worker.agent.daemon\n"
            f"print(sorted(name for name in sys.modules if name.split('.')[0] in {strangers.split()}))"
        )
        argv = [sys.executable, "-c", code]
        said = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=30, check=True).stdout
        assert said.strip() == "[]"

    def test_names_no_socket_but_unix_ones(self) -> None:
        for name in ("agent/daemon", "ipc/local_socket", "ipc/outbox"):
            text = (ROOT / f"worker/{name}.py").read_text()
            assert "AF_INET" not in text
            assert "create_connection" not in text
            assert text.count("socket.socket(") == text.count("socket.socket(socket.AF_UNIX")

    def test_needs_no_brokers_address(self, worker_host: WorkerHost) -> None:
        env = {key: value for key, value in worker_host.env.items() if key != "WEBXEN_BROKER_URL"}
        assert read(env, needs_broker=False).broker_url == ""
        with pytest.raises(SettingsError, match="WEBXEN_BROKER_URL"):
            read(env)

    def test_a_listener_may_read_the_address_and_password_from_a_file(self, worker_host: WorkerHost) -> None:
        kept = worker_host.directory / "broker.url"
        env = {key: value for key, value in worker_host.env.items() if key != "WEBXEN_BROKER_URL"}
        env["WEBXEN_BROKER_URL_FILE"] = str(kept)
        with pytest.raises(SettingsError, match="WEBXEN_BROKER_URL_FILE"):
            read(env)
        kept.write_text("unix://xen1:secret@/run/redis.sock\n")
        assert read(env).broker_url == "unix://xen1:secret@/run/redis.sock"


POISON: list[tuple[bytes, str]] = [
    (b"Z\0\0\0\0", "no word"),
    (b"\0\0\0\0\0", "no word"),
    (b"GET / HTTP/1.1\r\n\r\n", "no word"),
    (b"O\xff\xff\xff\xff", "too long"),
    (local_socket.HEAD.pack(b"O", MAX_ENVELOPE_BYTES + 1), "too long"),
    (local_socket.HEAD.pack(b"N", 1) + b"x", "too long"),
    (b"O\0\0", "broke off"),
    (local_socket.HEAD.pack(b"O", 10) + b"short", "broke off"),
    (local_socket.HEAD.pack(b"O", 2) + b"\xff\xfe", "not UTF-8"),
    (local_socket.HEAD.pack(b"A", 0), "where OBEY or NEXT was due"),
    (local_socket.HEAD.pack(b"T", 0), "where OBEY or NEXT was due"),
    (local_socket.HEAD.pack(b"R", 1) + b"x", "where OBEY or NEXT was due"),
]


class TestFrames:
    @pytest.mark.parametrize("word", list(Word))
    @pytest.mark.parametrize("envelope", ["", "{}", "é" * 1000])
    def test_come_out_as_they_went_in(self, word: Word, envelope: str) -> None:
        if word not in local_socket.WITH_ENVELOPE:
            envelope = ""
        here, there = socket.socketpair()
        with here, there:
            local_socket.send(here, word, envelope)
            assert local_socket.receive(there) == local_socket.Frame(word, envelope)

    @pytest.mark.parametrize("envelope", ["x" * (MAX_ENVELOPE_BYTES + 1), "\ud800"])
    def test_what_would_not_be_taken_is_not_sent(self, envelope: str) -> None:
        here, there = socket.socketpair()
        with here, there, pytest.raises(BadFrame):
            local_socket.send(here, Word.OBEY, envelope)

    @settings(max_examples=150, deadline=None)
    @given(st.binary(max_size=40) | st.tuples(st.sampled_from("OTBDNRVAX"), st.binary(max_size=20)))
    def test_any_bytes_are_a_frame_or_an_error(self, data: bytes | tuple[str, bytes]) -> None:
        raw = data if isinstance(data, bytes) else data[0].encode() + data[1]
        here, there = socket.socketpair()
        with here, there:
            here.sendall(raw)
            here.close()
            try:
                while frame := local_socket.receive(there):
                    assert len(frame.envelope) <= len(raw)
            except BadFrame:
                pass

    @pytest.mark.parametrize(("nonsense", "why"), POISON)
    def test_nonsense_costs_its_connection_and_one_line(
        self, desk: Desk, caplog: pytest.LogCaptureFixture, nonsense: bytes, why: str
    ) -> None:
        caplog.set_level(logging.WARNING)
        with local_socket.connect(desk.path) as connection:
            connection.sendall(nonsense)
            connection.shutdown(socket.SHUT_WR)
            # with bytes of ours unread there, the end may come as a reset
            with contextlib.suppress(ConnectionResetError):
                assert connection.recv(100) == b""
        wait_for(lambda: [r for r in caplog.messages if why in r], "the line", 5)
        assert len(caplog.messages) == 1
        assert local_socket.hand_in(desk.path, "x") is Word.DROPPED

    def test_a_deep_folder_is_no_trouble(self, tmp_path: Path) -> None:
        deep = tmp_path / ("d" * 60) / ("e" * 60) / "agent.sock"
        with local_socket.listen(deep, group=None):
            local_socket.connect(deep).close()

    def test_no_agent_is_an_error_with_its_address(self, tmp_path: Path) -> None:
        with pytest.raises(AgentUnavailable, match=r"agent\.sock"):
            local_socket.hand_in(tmp_path / "agent.sock", "x")


KNOCK = """
import os, sys
from pathlib import Path
from worker.ipc import local_socket
os.setgroups([]); os.setresgid({uid}, {uid}, {uid}); os.setresuid({uid}, {uid}, {uid})
try:
    print(local_socket.hand_in(Path(sys.argv[1]), "x").name)
except local_socket.AgentUnavailable as error:
    print("refused:", error)
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other accounts can enter; pytest's own are closed to them."""
    folder = Path(tempfile.mkdtemp(prefix="agent-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@as_root
class TestWhoMayKnock:
    def knock_as(self, uid: int, path: Path) -> str:
        argv = [sys.executable, "-c", KNOCK.format(uid=uid), str(path)]
        done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def open_hall(self, path: Path, *, uids: set[int], group: int | None) -> socket.socket:
        listener = local_socket.listen(path, group=group)
        hall = SocketServer(
            listener,
            uids=uids,
            admit=lambda _: Word.DROPPED,
            outbox=Outbox(on_listener=lambda: None),
            watchdog=Watchdog({}),
        )
        threading.Thread(target=hall.receive_for_ever, daemon=True).start()
        return listener

    def test_the_file_is_for_root_and_the_doors_group(self, open_folder: Path) -> None:
        path = open_folder / "agent.sock"
        with local_socket.listen(path, group=NOBODY):
            assert (path.stat().st_mode & 0o777, path.stat().st_uid, path.stat().st_gid) == (0o660, 0, NOBODY)
            assert "Permission denied" in self.knock_as(1234, path)
        with local_socket.listen(path, group=None):
            assert path.stat().st_mode & 0o777 == 0o600
            assert "Permission denied" in self.knock_as(NOBODY, path)

    def test_a_stranger_is_refused_even_if_the_file_lets_him(
        self, open_folder: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        path = open_folder / "agent.sock"
        with self.open_hall(path, uids={0, NOBODY}, group=None):
            path.chmod(0o666)
            said = self.knock_as(1234, path)
            assert said.startswith("refused:"), said
            assert "Permission denied" not in said
            assert "refused a connection of user 1234" in caplog.text
            assert self.knock_as(NOBODY, path) == "DROPPED"
            assert self.knock_as(0, path) == "DROPPED"

    def test_the_account_is_looked_up_by_name(self) -> None:
        assert local_socket.account("nobody") is not None
        assert local_socket.account("no-such-account") is None


class TestAdmission:
    def test_an_order_is_done_and_reported(self, desk: Desk) -> None:
        worker_host = desk.worker_host
        order = worker_host.order("poweroff", worker_host.machine())
        assert local_socket.hand_in(desk.path, worker_host.envelope(order)) is Word.TAKEN
        assert worker_host.end_of(order.job_id).event == "SUCCEEDED"

    def test_what_the_portal_did_not_sign_is_dropped(self, desk: Desk) -> None:
        worker_host = desk.worker_host
        order = worker_host.order("poweroff", worker_host.machine())
        strangers = keys.generate()[0]
        for envelope in (
            "{}",
            worker_host.envelope(order, key=strangers),
            worker_host.envelope(order, host="xen2"),
            worker_host.envelope(order, not_after=1),
        ):
            assert local_socket.hand_in(desk.path, envelope) is Word.DROPPED
        assert desk.dom0.journal.entries() == []

    def test_too_many_are_told_to_come_again_and_all_are_done_once(self, desk: Desk) -> None:
        worker_host = desk.worker_host
        worker_host.stand_in.lay_out(list={"slow": 0.3})
        image = worker_host.template()
        todo = [worker_host.order("poweroff", worker_host.machine(image)) for _ in range(60)]
        answers = [local_socket.hand_in(desk.path, worker_host.envelope(order)) for order in todo]
        # those two that are being done may have ended by now
        assert answers[: daemon.MOST_UNDERWAY] == [Word.TAKEN] * daemon.MOST_UNDERWAY
        assert answers.count(Word.BUSY) >= len(todo) - daemon.MOST_UNDERWAY - 10
        again = local_socket.hand_in(desk.path, worker_host.envelope(todo[daemon.MOST_UNDERWAY - 1]))
        assert again is Word.TAKEN  # it waits already, and takes no second place
        cancel = CancelJob(job_id=todo[-1].job_id, fence=99, machine=worker_host.machine(image))
        assert (
            local_socket.hand_in(desk.path, worker_host.envelope(cancel)) is Word.TAKEN
        )  # a cancel finds room
        worker_host.stand_in.lay_out()
        assert wait_for(lambda: len(desk.dom0.journal.entries()) >= daemon.MOST_UNDERWAY, "the jobs", 60)
        worker_host.end_of(todo[daemon.MOST_UNDERWAY - 1].job_id)
        assert len({r.job_id for r in worker_host.reports if r.event == "STARTED"}) == len(
            [r for r in worker_host.reports if r.event == "STARTED"]
        )

    def test_a_cancel_passes_the_jobs_that_wait(self, desk: Desk) -> None:
        worker_host = desk.worker_host
        worker_host.stand_in.lay_out(list={"slow": 1.0})
        todo = [worker_host.order("poweroff", worker_host.machine()) for _ in range(8)]
        for order in todo:
            local_socket.hand_in(desk.path, worker_host.envelope(order))
        last = todo[-1]
        cancel = CancelJob(job_id=last.job_id, fence=last.fence, machine=last.machine)  # type: ignore[attr-defined]
        local_socket.hand_in(desk.path, worker_host.envelope(cancel))
        assert worker_host.end_of(last.job_id, seconds=5).event == "CANCELLED"
        assert not any(r.event == "SUCCEEDED" for r in worker_host.reports if r.job_id == last.job_id)
        worker_host.stand_in.lay_out()


def run_listener(path: Path, publish: Callable[[Word, str], bool]) -> threading.Event:
    """A listener in this process."""
    is_over = threading.Event()

    def work() -> None:
        try:
            local_socket.fetch(path, publish, is_over=is_over.is_set)
        except (AgentUnavailable, OSError):
            return

    threading.Thread(target=work, daemon=True).start()
    return is_over


class TestTelling:
    def test_without_a_listener_a_message_stays_with_its_sender(self, desk: Desk) -> None:
        with pytest.raises(PortalAway, match="no listener"):
            desk.outbox.carry(TASK_REPORT, "x")

    def test_it_is_told_when_the_broker_took_it_and_not_before(self, desk: Desk) -> None:
        asked, may_answer = threading.Event(), threading.Event()
        told: list[str] = []

        def publish(_word: Word, _envelope: str) -> bool:
            asked.set()
            return may_answer.wait(10)

        run_listener(desk.path, publish)
        wait_for(lambda: desk.listeners, "the listener")

        def tell() -> None:
            desk.outbox.carry(TASK_REPORT, "x")
            told.append("x")

        sender = threading.Thread(target=tell)
        sender.start()
        assert asked.wait(5)
        assert told == []
        may_answer.set()
        sender.join(5)
        assert told == ["x"]

    def test_a_broker_that_is_away_is_told_of(self, desk: Desk) -> None:
        seen: list[tuple[Word, str]] = []
        run_listener(desk.path, lambda word, envelope: bool(seen.append((word, envelope))))
        wait_for(lambda: desk.listeners, "the listener")
        for task, word in ((TASK_REPORT, Word.REPORT), (TASK_OBSERVATION, Word.OBSERVATION)):
            with pytest.raises(PortalAway, match="broker"):
                desk.outbox.carry(task, "x")
            assert seen[-1] == (word, "x")

    def test_a_listener_that_dies_with_a_message_in_its_hands_has_not_told_it(self, desk: Desk) -> None:
        with local_socket.connect(desk.path) as connection:
            local_socket.send(connection, Word.NEXT)
            wait_for(lambda: desk.listeners, "the listener")
            threading.Timer(0.2, connection.shutdown, [socket.SHUT_RDWR]).start()
            with pytest.raises(PortalAway):
                desk.outbox.carry(TASK_REPORT, "x")
        wait_for(lambda: not desk.outbox._listeners, "the listener's leave")
        with pytest.raises(PortalAway, match="no listener"):
            desk.outbox.carry(TASK_REPORT, "x")

    def test_a_waiting_listener_that_dies_is_noticed(self, desk: Desk) -> None:
        with local_socket.connect(desk.path) as connection:
            local_socket.send(connection, Word.NEXT)
            wait_for(lambda: desk.listeners, "the listener")
        wait_for(lambda: not desk.outbox._listeners, "the listener's leave", 5)

    def test_the_next_listener_gets_what_this_one_did_not_take(self, desk: Desk) -> None:
        is_over = run_listener(desk.path, lambda _word, _envelope: False)
        wait_for(lambda: desk.listeners == 1, "the listener")
        with pytest.raises(PortalAway):
            desk.outbox.carry(TASK_REPORT, "x")
        is_over.set()
        seen: list[str] = []
        run_listener(desk.path, lambda _word, envelope: not seen.append(envelope))  # type: ignore[func-returns-value]
        wait_for(lambda: desk.listeners == 2, "the second listener")
        deadline = time.monotonic() + 10
        while not seen and time.monotonic() < deadline:
            try:
                desk.outbox.carry(TASK_REPORT, "x")
            except PortalAway:  # the first listener's last NEXT was still there
                continue
        assert seen == ["x"]

"""Listener and agent as processes on a real Redis: without root, killed, flooded."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.worker.console_bench import Broker, wait_for
from tests.worker.whole import CELERY, LEAN, Portal, Worker, kill, log_of
from tests.worker.worker_host import WorkerHost
from worker.contract import ENDS, Order
from worker.contract.broker_policy import OPEN_WORDS
from worker.ipc import local_socket
from worker.ipc.local_socket import Word
from worker.job.journal import Journal

pytestmark = pytest.mark.slow
NOBODY = 65534
#: Python may lie where only root can read it: all that Celery needs later is read before root is given up.
DOOR = """
import os, sys
import celery.bin.celery, celery.bin.worker, celery.apps.worker, celery.concurrency.thread, celery.app.control
import celery.app.amqp, celery.app.events, celery.app.log, celery.events.state, celery.loaders.app
import celery.worker.consumer, celery.worker.state, celery.worker.strategy, celery.worker.components
import celery.worker.autoscale, celery.worker.pidbox, celery.worker.heartbeat, celery.worker.loops
import celery.fixups.django, celery.backends.base, celery.utils.static, celery.worker.request
import kombu.transport.redis, kombu.transport.pyamqp, encodings.idna, multiprocessing.queues, colorsys, curses
import worker.listener.broker, worker.listener.tasks, worker.listener.queues
os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
sys.argv = ["celery", *sys.argv[1:]]
from celery.bin.celery import main
sys.exit(main())
"""


@pytest.fixture
def portal(whole_worker_host: WorkerHost, redis_broker: Broker) -> Portal:
    return Portal(whole_worker_host, redis_broker)


@pytest.fixture
def open_worker_host() -> Iterator[tuple[WorkerHost, Broker]]:
    """A worker_host in a folder that other accounts can enter; pytest's own are closed to them."""
    folder = Path(tempfile.mkdtemp(prefix="listener-"))
    folder.chmod(0o755)
    broker = Broker(folder)
    broker.start()
    # its own and nobody else's: a worker refuses a broker that is open to anybody
    os.chown(broker.socket, NOBODY, NOBODY)
    broker.socket.chmod(0o700)
    worker_host = WorkerHost(folder, broker_url=broker.url)
    yield worker_host, broker
    worker_host.close()
    broker.stop()
    shutil.rmtree(folder)


def sockets_of(pid: int) -> set[str]:
    """The kinds of socket that a process holds."""
    kinds = {}
    for kind in ("tcp", "tcp6", "udp", "udp6", "raw", "raw6", "packet", "unix"):
        table = Path(f"/proc/{pid}/net/{kind}")
        for line in table.read_text().splitlines()[1:] if table.exists() else []:
            words = line.split()
            kinds[words[6] if kind == "unix" else words[9 if kind != "packet" else -1]] = kind
    held = [str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir()]
    return {kinds.get(name[8:-1], "?") for name in held if name.startswith("socket:[")}


def told(worker_host: WorkerHost, job_id: str) -> bool:
    return Journal(worker_host.settings.journal_dir).is_told(job_id)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give root up")
def test_an_order_through_a_listener_without_root(open_worker_host: tuple[WorkerHost, Broker]) -> None:
    worker_host, broker = open_worker_host
    worker_host.env["WEBXEN_LISTENER_USER"] = "nobody"
    worker_host.env["WEBXEN_ALLOW_OPEN_BROKER"] = OPEN_WORDS
    key = worker_host.settings.host_key_file
    key.chmod(0o600)
    worker_host.settings.portal_key_file.chmod(0o600)
    worker_host.settings.state_dir.chmod(0o700)
    portal = Portal(worker_host, broker)
    agent = worker_host.process("-m", "worker.agent.daemon", log="agent.txt", env={"WEBXEN_BROKER_URL": ""})
    listener = worker_host.process("-c", DOOR, *CELERY[2:], *LEAN, log="celery.txt")
    wait_for(
        lambda: "is ready for orders" in log_of(worker_host) or listener.poll() is not None,
        "the listener",
        30,
    )
    assert listener.poll() is None, log_of(worker_host)
    order = worker_host.order("poweroff", worker_host.machine())
    portal.order(order)
    assert wait_for(lambda: portal.end_of(order), "the end", 30).event == "SUCCEEDED"
    wait_for(lambda: (portal.read(), portal.observations)[1], "an observation", 15)

    status = Path(f"/proc/{listener.pid}/status").read_text()
    assert f"Uid:\t{NOBODY}\t{NOBODY}\t{NOBODY}" in status
    assert "CapEff:\t0000000000000000" in status
    read = f"import os; os.setresuid({NOBODY}, {NOBODY}, {NOBODY}); open({str(key)!r})"
    tried = subprocess.run(
        [sys.executable, "-c", read], capture_output=True, text=True, check=False, timeout=30
    )
    assert "PermissionError" in tried.stderr
    assert sockets_of(listener.pid) == {"unix"}  # this broker's socket is one too
    assert sockets_of(agent.pid) == {"unix"}
    assert broker.url.removeprefix("unix://") not in Path(f"/proc/{agent.pid}/environ").read_text()


class TestKilled:
    def test_the_listener_in_the_midst_of_a_job(
        self, whole_worker_host: WorkerHost, redis_broker: Broker, portal: Portal
    ) -> None:
        worker_host = whole_worker_host
        worker_host.listen()
        worker = Worker(worker_host)
        worker_host.stand_in.lay_out(create={"at": "start", "slow": 1.0})
        order = worker_host.order("create", worker_host.machine(), deadline_seconds=60)
        portal.order(order)
        wait_for(lambda: "DOMAIN" in {r.step for r in (portal.read(), portal.reports)[1]}, "the domain", 60)
        kill(worker.listener)

        # the job goes on without a listener, and its end waits in the journal
        entry = worker_host.settings.journal_dir / f"{order.job_id}.json"
        wait_for(lambda: json.loads(entry.read_text())["state"] == "ENDED", "the end in the journal", 30)
        time.sleep(0.5)
        assert not told(worker_host, order.job_id)
        assert portal.end_of(order) is None

        began = time.monotonic()
        worker.start_listener()
        assert wait_for(lambda: portal.end_of(order), "the end", 15).event == "SUCCEEDED"
        assert time.monotonic() - began < 15  # at once, not when the reconciler's clock says so
        wait_for(lambda: told(worker_host, order.job_id), "the note that it was told", 5)
        assert len(worker_host.stand_in.runs()) == 1
        assert worker.is_alive

        # told and noted: the next listener does not hear it again
        kill(worker.listener)
        with (
            local_socket.connect(worker_host.settings.agent_socket) as third,
            contextlib.suppress(TimeoutError),
        ):
            third.settimeout(1.5)
            local_socket.send(third, Word.NEXT)
            while frame := local_socket.receive(third):
                assert frame.word is Word.OBSERVATION
                local_socket.send(third, Word.ACK)
                local_socket.send(third, Word.NEXT)

    def test_the_agent_in_the_midst_of_a_job(
        self, whole_worker_host: WorkerHost, redis_broker: Broker, portal: Portal
    ) -> None:
        worker_host = whole_worker_host
        worker_host.listen()
        worker = Worker(worker_host)
        worker_host.stand_in.lay_out(create={"at": "done", "slow": 3})
        machine = worker_host.machine()
        order = worker_host.order("create", machine, deadline_seconds=60)
        portal.order(order)
        wait_for(lambda: "DOMAIN" in {r.step for r in (portal.read(), portal.reports)[1]}, "the domain", 60)
        kill(worker.agent)
        later = worker_host.order("poweroff", worker_host.machine())
        portal.order(later)  # the listener holds it until there is an agent again
        worker_host.stand_in.lay_out()
        worker.start_agent()
        assert wait_for(lambda: portal.end_of(later), "the next order's end", 30).event == "SUCCEEDED"
        assert wait_for(lambda: portal.end_of(order), "the end", 60).event == "SUCCEEDED"
        assert worker_host.domains() == [machine.id]
        assert len(worker_host.stand_in.runs()) == 1
        assert worker.is_alive


def quick_xl(worker_host: WorkerHost) -> str:
    """An xl that says what the stand-in says of a host without domains, and nothing else, but soon."""
    words = {"list -v": "list.txt", "info": "info.txt"}
    for line, name in words.items():
        argv = [worker_host.stand_in.xl, *line.split()]
        (worker_host.directory / name).write_bytes(
            subprocess.run(argv, capture_output=True, check=True).stdout
        )
    script = worker_host.directory / "quick-xl"
    cases = "".join(f'"{line}") cat {worker_host.directory / name};; ' for line, name in words.items())
    script.write_text(f'#!/bin/sh\ncase "$*" in {cases} *) exit 1;; esac\n')
    script.chmod(0o755)
    return str(script)


def test_a_hundred_orders_at_once(
    whole_worker_host: WorkerHost, redis_broker: Broker, portal: Portal
) -> None:
    """Some are told to come again; sent again, as the portal does, all end, and each was begun once."""
    worker_host = whole_worker_host
    worker_host.env["WEBXEN_XL"] = quick_xl(worker_host)
    worker = Worker(worker_host)
    image = worker_host.template()
    todo = [worker_host.order("poweroff", worker_host.machine(image)) for _ in range(100)]

    def left() -> list[Order]:
        portal.read()
        ended = {report.job_id for report in portal.reports if report.event in ENDS}
        return [order for order in todo if order.job_id not in ended]

    deadline = time.monotonic() + 60
    while waiting := left():
        assert time.monotonic() < deadline, f"{len(waiting)} orders have not ended"
        for order in waiting:
            portal.order(order)
        until = time.monotonic() + 3.0
        while time.monotonic() < until and left():
            time.sleep(0.1)
    assert {portal.ends_of(order)[-1].event for order in todo} == {"SUCCEEDED"}
    begun = [r.job_id for r in portal.reports if r.event == "STARTED"]
    assert len(begun) == len(set(begun)) == 100
    assert worker.is_alive

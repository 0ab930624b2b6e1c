"""A complete worker for tests: listener and agent as processes, and the portal's side over Redis."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import redis

from tests.worker.console_bench import Broker, wait_for
from tests.worker.worker_host import WorkerHost
from worker.contract import (
    ENDS,
    TASK_OBEY,
    Item,
    Observation,
    Order,
    Report,
    observation_queue_for,
    open_envelope,
    queue_for,
    read_item,
    report_queue_for,
)
from worker.identity import keys
from worker.listener import broker as broker_module

CELERY = (
    "-m",
    "celery",
    "-A",
    "worker.listener.celery_app",
    "worker",
    "-n",
    "xen1@dom0",
    "-l",
    "INFO",
)
LEAN = ("--without-mingle", "--without-gossip", "--without-heartbeat")
#: a listener that polls the broker each second, for tests that wait for several polls
HASTY = """
import sys
from worker.listener import broker
broker.POLLING_SECONDS = 1
from celery.__main__ import main
sys.argv = ["celery", *sys.argv[1:]]
main()
"""
QUEUE = "dom0.xen1"


def take_said(client: redis.Redis, host: str) -> Iterator[Item]:
    """Take a host's messages off its queues."""
    for queue in (report_queue_for(host), observation_queue_for(host)):
        while item := client.rpop(queue):
            yield read_item(item)


class Portal:
    """The portal's side: sends orders, reads the host's reports."""

    def __init__(self, worker_host: WorkerHost, broker: Broker) -> None:
        self.worker_host = worker_host
        self.broker = broker
        self.app = broker_module.make_app(worker_host.settings)
        self.reports: list[Report] = []
        self.observations: list[Observation] = []

    def order(self, order: Order) -> None:
        self.send(self.worker_host.envelope(order), task_id=order.job_id)

    def send(self, *args: Any, task: str = TASK_OBEY, **options: Any) -> None:
        self.app.send_task(task, args=args, queue=queue_for("xen1"), ignore_result=True, **options)

    def read(self) -> None:
        with self.broker.client() as client:
            for item in take_said(client, "xen1"):
                envelope = item.untrusted_envelope
                verify = keys.verifier(self.worker_host.host_public)
                message = open_envelope(envelope, host="xen1", verify=verify, now=int(time.time())).message
                if isinstance(message, Report):
                    self.reports.append(message)
                elif isinstance(message, Observation):
                    self.observations.append(message)

    def ends_of(self, order: Order) -> list[Report]:
        return [r for r in self.reports if r.job_id == order.job_id and r.event in ENDS]

    def end_of(self, order: Order) -> Report | None:
        self.read()
        ends = self.ends_of(order)
        return ends[-1] if ends else None


class Worker:
    """Listener and agent of one host."""

    def __init__(self, worker_host: WorkerHost, *, is_hasty: bool = False) -> None:
        self.worker_host = worker_host
        self._celery = ("-c", HASTY, *CELERY[2:]) if is_hasty else CELERY
        self.start_agent()
        self.start_listener()

    def start_agent(self) -> None:
        self.agent = self.worker_host.process("-m", "worker.agent.daemon", log="agent.txt")

    def start_listener(self) -> None:
        already = log_of(self.worker_host).count("is ready for orders")
        self.listener = self.worker_host.process(*self._celery, *LEAN, log="celery.txt")
        wait_for(lambda: log_of(self.worker_host).count("is ready for orders") > already, "the worker", 60)

    def kill(self) -> None:
        for process in (self.listener, self.agent):
            kill(process)

    @property
    def is_alive(self) -> bool:
        return self.listener.poll() is None and self.agent.poll() is None


def kill(process: "subprocess.Popen[bytes]") -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def log_of(worker_host: WorkerHost, name: str = "celery.txt") -> str:
    log = worker_host.directory / name
    return log.read_text() if log.exists() else ""

"""The worker is killed after each step of each verb; the next one finishes the job or cleans up."""

import signal
import time
from pathlib import Path

from tests.worker.console_bench import wait_for
from tests.worker.worker_host import WorkerHost
from worker.agent import executor
from worker.agent.recovery import Reconciler
from worker.contract import Order
from worker.job.journal import Journal

OBEY = """
import os, signal, sys, time
from pathlib import Path
from worker import failpoints
from worker.identity import keys; from worker.agent import executor as orders
from worker.job.context import HostContext
from worker.job.journal import Journal
from worker.job.reporting import Reporter
from worker.settings import read
from worker.xen.xl import Xl
config = read(os.environ)
journal = Journal(config.journal_dir)
dom0 = HostContext(config, Xl(str(config.xl)), journal,
    Reporter(lambda report: None, on_end_told=lambda job: None), keys.read_verifier(config.portal_key_file))
def reach(point):
    if point == sys.argv[2] + " is done":
        os.kill(os.getpid(), signal.SIGKILL)
failpoints.listener = reach
orders.obey(dom0, Path(sys.argv[1]).read_text(), now=int(time.time()))
"""


def obey_and_die(worker_host: WorkerHost, order: Order, step: str, *, envelope: Path | None = None) -> None:
    """Give an order to a worker process of its own, which ends at once after this step."""
    if envelope is None:
        envelope = worker_host.directory / "envelope"
        envelope.write_text(worker_host.envelope(order))
    process = worker_host.process("-c", OBEY, str(envelope), step, log="killed.txt")
    assert process.wait(60) == -signal.SIGKILL, (worker_host.directory / "killed.txt").read_text()


class TestKilledInCreate:
    def test_the_order_itself_sent_again_finishes_it_too(self, worker_host: WorkerHost) -> None:
        order = worker_host.order("create", worker_host.machine())
        obey_and_die(worker_host, order, "DOMAIN")
        end = worker_host.obey(worker_host.dom0(), order)
        assert end.event == "SUCCEEDED"
        assert len(worker_host.stand_in.runs()) == 1

    def test_it_gives_up_after_three_and_cleans_up(self, worker_host: WorkerHost) -> None:
        machine = worker_host.machine()
        order = worker_host.order("create", machine)
        for _ in range(3):
            obey_and_die(worker_host, order, "DISK")
        Reconciler(worker_host.dom0()).look()
        end = worker_host.end_of(order.job_id)
        assert (end.event, end.error_code) == ("FAILED", "TOO_MANY_ATTEMPTS")
        wait_for(lambda: worker_host.files_of(machine) == [], "the cleaning")

    def test_a_newer_order_for_the_machine_wins(self, worker_host: WorkerHost) -> None:
        machine = worker_host.machine()
        order = worker_host.order("create", machine)
        obey_and_die(worker_host, order, "SEED")
        dom0 = worker_host.dom0()
        assert worker_host.do(dom0, "delete", machine).event == "SUCCEEDED"
        Reconciler(dom0).look()
        assert worker_host.end_of(order.job_id).error_code == "FENCED"
        wait_for(lambda: worker_host.files_of(machine) == [], "the cleaning")
        assert worker_host.domains() == []


class TestFenced:
    def test_a_start_that_comes_back_too_late_leaves_the_newer_ones_domain_alone(
        self, worker_host: WorkerHost
    ) -> None:
        dom0, machine = worker_host.dom0(), worker_host.machine()
        worker_host.do(dom0, "create", machine)
        worker_host.do(dom0, "poweroff", machine)
        late = worker_host.order("start", machine)
        obey_and_die(worker_host, late, "DOMAIN")
        assert worker_host.do(dom0, "start", machine).event == "SUCCEEDED"
        Reconciler(dom0).look()
        end = worker_host.end_of(late.job_id)
        assert (end.error_code, end.power) == ("FENCED", "RUNNING")
        wait_for(lambda: _state(worker_host, late) == "ENDED", "the late job's end")
        assert worker_host.domains() == [machine.id]

    def test_what_was_left_to_clean_is_the_newer_orders_now(self, worker_host: WorkerHost) -> None:
        dom0, machine = worker_host.dom0(), worker_host.machine()
        worker_host.do(dom0, "create", machine)
        worker_host.do(dom0, "poweroff", machine)
        late = worker_host.order("start", machine)
        obey_and_die(worker_host, late, "DOMAIN")
        entry = dom0.journal.read(late.job_id)
        assert entry is not None
        entry.state = "CLEANING"
        dom0.journal.write(entry)
        assert worker_host.do(dom0, "start", machine).event == "SUCCEEDED"
        executor.resume(dom0, late.job_id)
        assert _state(worker_host, late) == "ENDED"
        assert worker_host.domains() == [machine.id]


def _state(worker_host: WorkerHost, order: Order) -> str:
    entry = Journal(worker_host.settings.journal_dir).read(order.job_id)
    assert entry is not None
    return entry.state


class TestDom0Restarted:
    def test_a_disk_that_may_not_have_reached_the_medium_is_made_again(self, worker_host: WorkerHost) -> None:
        machine = worker_host.machine()
        order = worker_host.order("create", machine)
        obey_and_die(worker_host, order, "SEED")
        worker_host.disk(machine).write_bytes(b"lost in the power cut")
        dom0 = worker_host.dom0()
        entry = dom0.journal.read(order.job_id)
        assert entry is not None
        entry.boot_id = "another boot"
        dom0.journal.write(entry)
        executor.resume(dom0, order.job_id)
        assert worker_host.end_of(order.job_id).event == "SUCCEEDED"
        assert worker_host.disk(machine).stat().st_size == 16 << 20

    def test_all_domains_are_off_and_stay_off_until_somebody_asks(self, worker_host: WorkerHost) -> None:
        dom0, machine = worker_host.dom0(), worker_host.machine()
        worker_host.do(dom0, "create", machine)
        worker_host.stand_in.power_off()
        Reconciler(dom0).look()
        time.sleep(0.5)
        assert worker_host.domains() == []
        assert worker_host.do(dom0, "start", machine).event == "SUCCEEDED"

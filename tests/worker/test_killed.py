"""The worker is killed after each step of each verb; the next one finishes the job or cleans up."""

import time
from pathlib import Path

from tests.worker.bed import Bed
from tests.worker.console_bench import wait_for
from worker.agent import executor
from worker.agent.recovery import Reconciler
from worker.contract import Order
from worker.job.journal import Journal

OBEY = """
import os, sys, time
from pathlib import Path
from worker.identity import keys; from worker.agent import executor as orders
from worker.job.context import Dom0
from worker.job.journal import Journal
from worker.job.reporting import Reporter
from worker.settings import read
from worker.xen.xl import Xl
config = read(os.environ)
journal = Journal(config.journal_dir)
dom0 = Dom0(config, Xl(str(config.xl), str(config.xenstore_dir)), journal,
    Reporter(lambda report: None, on_end_told=lambda job: None), keys.read_verifier(config.portal_key_file))
orders.obey(dom0, Path(sys.argv[1]).read_text(), now=int(time.time()))
"""


def obey_and_die(bed: Bed, order: Order, step: str, *, envelope: Path | None = None) -> None:
    """Give an order to a worker process of its own, which ends at once after this step."""
    if envelope is None:
        envelope = bed.directory / "envelope"
        envelope.write_text(bed.envelope(order))
    process = bed.process("-c", OBEY, str(envelope), log="killed.txt", env={"WEBXEN_FAULT_AFTER_STEP": step})
    assert process.wait(60) == 137, (bed.directory / "killed.txt").read_text()


class TestKilledInCreate:
    def test_the_order_itself_sent_again_finishes_it_too(self, bed: Bed) -> None:
        order = bed.order("create", bed.machine())
        obey_and_die(bed, order, "DOMAIN")
        end = bed.obey(bed.dom0(), order)
        assert end.event == "SUCCEEDED"
        assert len(bed.stand_in.runs()) == 1

    def test_it_gives_up_after_three_and_cleans_up(self, bed: Bed) -> None:
        machine = bed.machine()
        order = bed.order("create", machine)
        for _ in range(3):
            obey_and_die(bed, order, "DISK")
        Reconciler(bed.dom0()).look()
        end = bed.end_of(order.job_id)
        assert (end.event, end.error_code) == ("FAILED", "TOO_MANY_ATTEMPTS")
        wait_for(lambda: bed.files_of(machine) == [], "the cleaning")

    def test_a_newer_order_for_the_machine_wins(self, bed: Bed) -> None:
        machine = bed.machine()
        order = bed.order("create", machine)
        obey_and_die(bed, order, "SEED")
        dom0 = bed.dom0()
        assert bed.do(dom0, "delete", machine).event == "SUCCEEDED"
        Reconciler(dom0).look()
        assert bed.end_of(order.job_id).error_code == "FENCED"
        wait_for(lambda: bed.files_of(machine) == [], "the cleaning")
        assert bed.domains() == []


class TestFenced:
    def test_a_start_that_comes_back_too_late_leaves_the_newer_ones_domain_alone(self, bed: Bed) -> None:
        dom0, machine = bed.dom0(), bed.machine()
        bed.do(dom0, "create", machine)
        bed.do(dom0, "poweroff", machine)
        late = bed.order("start", machine)
        obey_and_die(bed, late, "DOMAIN")
        assert bed.do(dom0, "start", machine).event == "SUCCEEDED"
        Reconciler(dom0).look()
        end = bed.end_of(late.job_id)
        assert (end.error_code, end.power) == ("FENCED", "RUNNING")
        wait_for(lambda: _state(bed, late) == "ENDED", "the late job's end")
        assert bed.domains() == [machine.id]

    def test_what_was_left_to_clean_is_the_newer_orders_now(self, bed: Bed) -> None:
        dom0, machine = bed.dom0(), bed.machine()
        bed.do(dom0, "create", machine)
        bed.do(dom0, "poweroff", machine)
        late = bed.order("start", machine)
        obey_and_die(bed, late, "DOMAIN")
        entry = dom0.journal.read(late.job_id)
        assert entry is not None
        entry.state = "CLEANING"
        dom0.journal.write(entry)
        assert bed.do(dom0, "start", machine).event == "SUCCEEDED"
        executor.resume(dom0, late.job_id)
        assert _state(bed, late) == "ENDED"
        assert bed.domains() == [machine.id]


def _state(bed: Bed, order: Order) -> str:
    entry = Journal(bed.settings.journal_dir).read(order.job_id)
    assert entry is not None
    return entry.state


class TestDom0Restarted:
    def test_a_disk_that_may_not_have_reached_the_medium_is_made_again(self, bed: Bed) -> None:
        machine = bed.machine()
        order = bed.order("create", machine)
        obey_and_die(bed, order, "SEED")
        bed.disk(machine).write_bytes(b"lost in the power cut")
        dom0 = bed.dom0()
        entry = dom0.journal.read(order.job_id)
        assert entry is not None
        entry.boot_id = "another boot"
        dom0.journal.write(entry)
        executor.resume(dom0, order.job_id)
        assert bed.end_of(order.job_id).event == "SUCCEEDED"
        assert bed.disk(machine).stat().st_size == 16 << 20

    def test_all_domains_are_off_and_stay_off_until_somebody_asks(self, bed: Bed) -> None:
        dom0, machine = bed.dom0(), bed.machine()
        bed.do(dom0, "create", machine)
        bed.stand_in.power_off()
        Reconciler(dom0).look()
        time.sleep(0.5)
        assert bed.domains() == []
        assert bed.do(dom0, "start", machine).event == "SUCCEEDED"

"""Taking an order back: before the host has it, in the midst of it, after it."""

import threading
import time

import pytest

from tests.worker.bed import Bed
from tests.worker.console_bench import wait_for
from tests.worker.test_killed import obey_and_die
from worker.agent import executor
from worker.agent.recovery import Reconciler
from worker.contract import CancelJob, MachineSpec, Order


def cancel_of(order: Order, machine: MachineSpec) -> CancelJob:
    return CancelJob(job_id=order.job_id, fence=order.fence, machine=machine)


def send(bed: Bed, order: Order) -> None:
    executor.obey(bed.dom0(), bed.envelope(order), now=int(time.time()))


class Under:
    """An order being carried out in a thread of its own."""

    def __init__(self, bed: Bed, order: Order) -> None:
        self._thread = threading.Thread(target=send, args=(bed, order))
        self._thread.start()

    def wait(self) -> None:
        self._thread.join(30)
        assert not self._thread.is_alive()


class TestCancel:
    def test_an_order_that_never_came_is_not_carried_out_when_it_comes(self, bed: Bed) -> None:
        machine = bed.machine()
        order = bed.order("create", machine)
        send(bed, cancel_of(order, machine))
        assert bed.end_of(order.job_id).event == "CANCELLED"
        send(bed, order)
        wait_for(lambda: len(bed.reports) == 2, "the second answer")
        assert bed.reports[-1].event == "CANCELLED"
        assert (bed.files_of(machine), bed.domains()) == ([], [])

    def test_a_machine_that_boots_goes_away_again(self, bed: Bed) -> None:
        machine = bed.machine()
        bed.stand_in.lay_out(guest={"no_login": True})
        order = bed.order("create", machine)
        under = Under(bed, order)
        wait_for(lambda: any(r.step == "KERNEL" for r in bed.reports), "the kernel")
        send(bed, cancel_of(order, machine))
        under.wait()
        end = bed.end_of(order.job_id)
        assert (end.event, end.error_code, end.power) == ("CANCELLED", "", "OFF")
        heard = [r for r in bed.reports if r.event == "CANCEL_HEARD"]
        assert [r.error_code for r in heard] == [""]
        assert (bed.files_of(machine), bed.domains()) == ([], [])

    def test_xl_create_is_finished_first_and_then_undone(self, bed: Bed) -> None:
        machine = bed.machine()
        bed.stand_in.lay_out(create={"at": "done", "slow": 1})
        order = bed.order("create", machine)
        under = Under(bed, order)
        wait_for(lambda: any(r.step == "DOMAIN" for r in bed.reports), "xl create")
        send(bed, cancel_of(order, machine))
        under.wait()
        assert bed.end_of(order.job_id).event == "CANCELLED"
        assert (bed.files_of(machine), bed.domains()) == ([], [])

    def test_the_job_of_a_dead_worker_is_undone(self, bed: Bed) -> None:
        machine = bed.machine()
        order = bed.order("create", machine)
        obey_and_die(bed, order, "DOMAIN")
        assert bed.domains() == [machine.id]
        send(bed, cancel_of(order, machine))
        assert bed.end_of(order.job_id).event == "CANCELLED"
        assert (bed.files_of(machine), bed.domains()) == ([], [])

    def test_a_start_leaves_the_disk(self, bed: Bed) -> None:
        dom0, machine = bed.dom0(), bed.machine()
        bed.do(dom0, "create", machine)
        bed.do(dom0, "poweroff", machine)
        bed.stand_in.lay_out(guest={"no_login": True})
        order = bed.order("start", machine)
        under = Under(bed, order)
        wait_for(lambda: any(r.job_id == order.job_id and r.step == "KERNEL" for r in bed.reports), "it")
        send(bed, cancel_of(order, machine))
        under.wait()
        assert bed.end_of(order.job_id).event == "CANCELLED"
        assert bed.domains() == []
        assert bed.disk(machine).exists()

    def test_waiting_for_a_guest_that_ignores_us_ends(self, bed: Bed) -> None:
        dom0, machine = bed.dom0(), bed.machine()
        bed.do(dom0, "create", machine)
        bed.stand_in.lay_out(guest={"ignores_shutdown": True})
        order = bed.order("shutdown", machine)
        under = Under(bed, order)
        wait_for(lambda: any(r.job_id == order.job_id and r.step == "GONE" for r in bed.reports), "it")
        send(bed, cancel_of(order, machine))
        under.wait()
        end = bed.end_of(order.job_id)
        assert (end.event, end.power) == ("CANCELLED", "RUNNING")

    def test_a_delete_that_has_begun_is_finished(self, bed: Bed) -> None:
        dom0, machine = bed.dom0(), bed.machine()
        bed.do(dom0, "create", machine)
        bed.stand_in.lay_out(destroy={"at": "done", "slow": 1})
        order = bed.order("delete", machine)
        under = Under(bed, order)
        wait_for(lambda: any(r.job_id == order.job_id and r.step == "DOMAIN" for r in bed.reports), "it")
        send(bed, cancel_of(order, machine))
        under.wait()
        assert bed.end_of(order.job_id).event == "SUCCEEDED"
        heard = [r for r in bed.reports if r.event == "CANCEL_HEARD"]
        assert [r.error_code for r in heard] == ["TOO_LATE"]
        assert bed.files_of(machine) == []

    @pytest.mark.parametrize("step", ["ACCEPT", "DOMAIN"])
    def test_a_delete_of_a_dead_worker_is_finished(self, bed: Bed, step: str) -> None:
        dom0, machine = bed.dom0(), bed.machine()
        bed.do(dom0, "create", machine)
        order = bed.order("delete", machine)
        obey_and_die(bed, order, step)
        send(bed, cancel_of(order, machine))
        assert bed.end_of(order.job_id).event == "SUCCEEDED"
        assert bed.files_of(machine) == []

    def test_after_the_end_the_end_is_told_again(self, bed: Bed) -> None:
        dom0, machine = bed.dom0(), bed.machine()
        order = bed.order("create", machine)
        bed.obey(dom0, order)
        before = len(bed.reports)
        send(bed, cancel_of(order, machine))
        wait_for(lambda: len(bed.reports) > before, "the answer")
        assert bed.reports[-1].event == "SUCCEEDED"
        Reconciler(dom0).look()
        assert bed.domains() == [machine.id]

    def test_of_another_machines_job_is_dropped(self, bed: Bed) -> None:
        dom0, machine, other = bed.dom0(), bed.machine(), bed.machine()
        order = bed.order("create", machine)
        bed.obey(dom0, order)
        before = len(bed.reports)
        send(bed, cancel_of(order, other))
        assert len(bed.reports) == before
        assert bed.domains() == [machine.id]

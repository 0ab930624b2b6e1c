"""Taking an order back: before the host has it, in the midst of it, after it."""

import threading
import time

import pytest

from tests.worker.console_bench import wait_for
from tests.worker.test_killed import obey_and_die
from tests.worker.worker_host import WorkerHost
from worker.agent import executor
from worker.agent.recovery import Reconciler
from worker.contract import CancelJob, MachineSpec, Order


def cancel_of(order: Order, machine: MachineSpec) -> CancelJob:
    return CancelJob(job_id=order.job_id, fence=order.fence, machine=machine)


def send(worker_host: WorkerHost, order: Order) -> None:
    executor.obey(worker_host.dom0(), worker_host.envelope(order), now=int(time.time()))


class Under:
    """An order being carried out in a thread of its own."""

    def __init__(self, worker_host: WorkerHost, order: Order) -> None:
        self._thread = threading.Thread(target=send, args=(worker_host, order))
        self._thread.start()

    def wait(self) -> None:
        self._thread.join(30)
        assert not self._thread.is_alive()


class TestCancel:
    def test_an_order_that_never_came_is_not_carried_out_when_it_comes(self, worker_host: WorkerHost) -> None:
        machine = worker_host.machine()
        order = worker_host.order("create", machine)
        send(worker_host, cancel_of(order, machine))
        assert worker_host.end_of(order.job_id).event == "CANCELLED"
        send(worker_host, order)
        wait_for(lambda: len(worker_host.reports) == 2, "the second answer")
        assert worker_host.reports[-1].event == "CANCELLED"
        assert (worker_host.files_of(machine), worker_host.domains()) == ([], [])

    def test_a_machine_that_boots_goes_away_again(self, worker_host: WorkerHost) -> None:
        machine = worker_host.machine()
        worker_host.stand_in.lay_out(guest={"no_login": True})
        order = worker_host.order("create", machine)
        under = Under(worker_host, order)
        wait_for(lambda: any(r.step == "KERNEL" for r in worker_host.reports), "the kernel")
        send(worker_host, cancel_of(order, machine))
        under.wait()
        end = worker_host.end_of(order.job_id)
        assert (end.event, end.error_code, end.power) == ("CANCELLED", "", "OFF")
        heard = [r for r in worker_host.reports if r.event == "CANCEL_HEARD"]
        assert [r.error_code for r in heard] == [""]
        assert (worker_host.files_of(machine), worker_host.domains()) == ([], [])

    def test_xl_create_is_finished_first_and_then_undone(self, worker_host: WorkerHost) -> None:
        machine = worker_host.machine()
        worker_host.stand_in.lay_out(create={"at": "done", "slow": 1})
        order = worker_host.order("create", machine)
        under = Under(worker_host, order)
        wait_for(lambda: any(r.step == "DOMAIN" for r in worker_host.reports), "xl create")
        send(worker_host, cancel_of(order, machine))
        under.wait()
        assert worker_host.end_of(order.job_id).event == "CANCELLED"
        assert (worker_host.files_of(machine), worker_host.domains()) == ([], [])

    def test_the_job_of_a_dead_worker_is_undone(self, worker_host: WorkerHost) -> None:
        machine = worker_host.machine()
        order = worker_host.order("create", machine)
        obey_and_die(worker_host, order, "DOMAIN")
        assert worker_host.domains() == [machine.id]
        send(worker_host, cancel_of(order, machine))
        assert worker_host.end_of(order.job_id).event == "CANCELLED"
        assert (worker_host.files_of(machine), worker_host.domains()) == ([], [])

    def test_a_start_leaves_the_disk(self, worker_host: WorkerHost) -> None:
        dom0, machine = worker_host.dom0(), worker_host.machine()
        worker_host.do(dom0, "create", machine)
        worker_host.do(dom0, "poweroff", machine)
        worker_host.stand_in.lay_out(guest={"no_login": True})
        order = worker_host.order("start", machine)
        under = Under(worker_host, order)
        wait_for(
            lambda: any(r.job_id == order.job_id and r.step == "KERNEL" for r in worker_host.reports), "it"
        )
        send(worker_host, cancel_of(order, machine))
        under.wait()
        assert worker_host.end_of(order.job_id).event == "CANCELLED"
        assert worker_host.domains() == []
        assert worker_host.disk(machine).exists()

    def test_waiting_for_a_guest_that_ignores_us_ends(self, worker_host: WorkerHost) -> None:
        dom0, machine = worker_host.dom0(), worker_host.machine()
        worker_host.do(dom0, "create", machine)
        worker_host.stand_in.lay_out(guest={"ignores_shutdown": True})
        order = worker_host.order("shutdown", machine)
        under = Under(worker_host, order)
        wait_for(
            lambda: any(r.job_id == order.job_id and r.step == "GONE" for r in worker_host.reports), "it"
        )
        send(worker_host, cancel_of(order, machine))
        under.wait()
        end = worker_host.end_of(order.job_id)
        assert (end.event, end.power) == ("CANCELLED", "RUNNING")

    def test_a_delete_that_has_begun_is_finished(self, worker_host: WorkerHost) -> None:
        dom0, machine = worker_host.dom0(), worker_host.machine()
        worker_host.do(dom0, "create", machine)
        worker_host.stand_in.lay_out(destroy={"at": "done", "slow": 1})
        order = worker_host.order("delete", machine)
        under = Under(worker_host, order)
        wait_for(
            lambda: any(r.job_id == order.job_id and r.step == "DOMAIN" for r in worker_host.reports), "it"
        )
        send(worker_host, cancel_of(order, machine))
        under.wait()
        assert worker_host.end_of(order.job_id).event == "SUCCEEDED"
        heard = [r for r in worker_host.reports if r.event == "CANCEL_HEARD"]
        assert [r.error_code for r in heard] == ["TOO_LATE"]
        assert worker_host.files_of(machine) == []

    @pytest.mark.parametrize("step", ["ACCEPT", "DOMAIN"])
    def test_a_delete_of_a_dead_worker_is_finished(self, worker_host: WorkerHost, step: str) -> None:
        dom0, machine = worker_host.dom0(), worker_host.machine()
        worker_host.do(dom0, "create", machine)
        order = worker_host.order("delete", machine)
        obey_and_die(worker_host, order, step)
        send(worker_host, cancel_of(order, machine))
        assert worker_host.end_of(order.job_id).event == "SUCCEEDED"
        assert worker_host.files_of(machine) == []

    def test_after_the_end_the_end_is_told_again(self, worker_host: WorkerHost) -> None:
        dom0, machine = worker_host.dom0(), worker_host.machine()
        order = worker_host.order("create", machine)
        worker_host.obey(dom0, order)
        before = len(worker_host.reports)
        send(worker_host, cancel_of(order, machine))
        wait_for(lambda: len(worker_host.reports) > before, "the answer")
        assert worker_host.reports[-1].event == "SUCCEEDED"
        Reconciler(dom0).look()
        assert worker_host.domains() == [machine.id]

    def test_of_another_machines_job_is_dropped(self, worker_host: WorkerHost) -> None:
        dom0, machine, other = worker_host.dom0(), worker_host.machine(), worker_host.machine()
        order = worker_host.order("create", machine)
        worker_host.obey(dom0, order)
        before = len(worker_host.reports)
        send(worker_host, cancel_of(order, other))
        assert len(worker_host.reports) == before
        assert worker_host.domains() == [machine.id]

"""A guest reboots by itself: between its two domains none is listed, and yet the machine is not off."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools.fakexl import overlaps
from tests.worker.console_bench import wait_for
from tests.worker.moving import Pair
from tests.worker.preloaded import preloaded
from tests.worker.worker_host import WorkerHost
from worker.contract import MachineSpec
from worker.guest import domains
from worker.job.context import HostContext
from worker.xen import restart_watcher
from worker.xen.xl import Domain, Xl

#: xl's own is two seconds
GAP_SECONDS = 1.0


@pytest.fixture
def worker_host(tmp_path: Path) -> Iterator[WorkerHost]:
    worker_host = WorkerHost(tmp_path, reboot_gap_seconds=GAP_SECONDS, linger_seconds=0.4)
    worker_host.listen()
    with preloaded():
        yield worker_host
    worker_host.close()


@pytest.fixture
def dom0(worker_host: WorkerHost) -> HostContext:
    return worker_host.dom0()


@pytest.fixture
def machine(worker_host: WorkerHost, dom0: HostContext) -> MachineSpec:
    machine = worker_host.machine()
    assert worker_host.do(dom0, "create", machine).event == "SUCCEEDED"
    return machine


def look(worker_host: WorkerHost, machine: MachineSpec) -> Domain | None:
    return Xl(worker_host.stand_in.xl).domain(machine.id)


def reboot_by_itself(worker_host: WorkerHost, machine: MachineSpec) -> None:
    domain = look(worker_host, machine)
    assert domain is not None
    Xl(worker_host.stand_in.xl).reboot(domain.domid)


def enter_gap(worker_host: WorkerHost, machine: MachineSpec) -> None:
    """The guest has ended, and its next domain is not there yet."""
    reboot_by_itself(worker_host, machine)
    wait_for(lambda: look(worker_host, machine) is None, "the gap", 10)


def enter_linger(worker_host: WorkerHost, machine: MachineSpec) -> None:
    """The guest has ended to begin anew, and its old domain is still listed."""
    reboot_by_itself(worker_host, machine)
    wait_for(lambda: (domain := look(worker_host, machine)) and domain.is_rebooting, "the ended domain", 10)


def stays_off(worker_host: WorkerHost, machine: MachineSpec) -> bool:
    """Is it off, and still when any restart must have happened?"""
    until = time.monotonic() + GAP_SECONDS + 0.6
    while time.monotonic() < until:
        if look(worker_host, machine) is not None:
            return False
        time.sleep(0.1)
    return True


@pytest.mark.parametrize("enter", [enter_gap, enter_linger])
class TestOff:
    """A machine that was told to be off is off, and does not come back."""

    def test_poweroff(self, worker_host, dom0, machine, enter):
        enter(worker_host, machine)
        end = worker_host.do(dom0, "poweroff", machine)
        assert (end.event, end.power) == ("SUCCEEDED", "OFF")
        assert stays_off(worker_host, machine)
        assert worker_host.disk(machine).exists()

    def test_delete(self, worker_host, dom0, machine, enter):
        enter(worker_host, machine)
        assert worker_host.do(dom0, "delete", machine).event == "SUCCEEDED"
        assert worker_host.files_of(machine) == []
        assert stays_off(worker_host, machine)
        # it ran again for a moment, and its disk was there as long as it did
        assert not (worker_host.stand_in.directory / "domain-errors.log").exists()

    def test_shutdown(self, worker_host, dom0, machine, enter):
        enter(worker_host, machine)
        end = worker_host.do(dom0, "shutdown", machine)
        assert (end.event, end.power) == ("SUCCEEDED", "OFF")
        assert stays_off(worker_host, machine)
        log = worker_host.settings.console_log(machine.id).read_text()
        # the second guest was asked as well, and nobody pulled its plug
        assert log.rstrip().endswith("reboot: Power down")


@pytest.mark.parametrize("enter", [enter_gap, enter_linger])
class TestOn:
    def test_start_waits_for_the_domain_that_comes(self, worker_host, dom0, machine, enter):
        runs = len(worker_host.stand_in.runs())
        enter(worker_host, machine)
        end = worker_host.do(dom0, "start", machine)
        assert (end.event, end.power) == ("SUCCEEDED", "RUNNING")
        assert len(worker_host.stand_in.runs()) == runs + 1
        assert overlaps([worker_host.stand_in.directory / "running.jsonl"]) == []

    def test_reboot_is_not_refused(self, worker_host, dom0, machine, enter):
        enter(worker_host, machine)
        end = worker_host.do(dom0, "reboot", machine)
        assert (end.event, end.power) == ("SUCCEEDED", "RUNNING"), end


def test_a_domain_that_begins_to_reboot_as_it_is_destroyed_is_destroyed_again(worker_host, dom0, machine):
    before = look(worker_host, machine)
    assert before is not None

    class Late(Xl):
        """The guest reboots between the look and the act."""

        def destroy(self, domid: int) -> None:
            if domid == before.domid:
                enter_linger(worker_host, machine)
            super().destroy(domid)

    late = HostContext(dom0.settings, Late(worker_host.stand_in.xl), dom0.journal, dom0.reporter, dom0.verify)
    assert domains.destroy(late, machine.id)
    assert stays_off(worker_host, machine)


@pytest.mark.parametrize("method", ["LIVE", "SUSPENDED"])
def test_of_a_machine_that_has_moved_here_is_waited_for_too(tmp_path, method):
    pair = Pair(tmp_path, reboot_gap_seconds=GAP_SECONDS, linger_seconds=0.4)
    try:
        machine, other = pair.machine(), pair.b.worker_host.machine()
        assert pair.move(machine, pair.a, pair.b, method=method).target.event == "SUCCEEDED"
        worker_host = pair.b.worker_host
        config = worker_host.settings.machine_config(machine.id)
        assert restart_watcher.find(config) is not None
        assert restart_watcher.find(worker_host.settings.machine_config(other.id)) is None
        enter_gap(worker_host, machine)
        order = worker_host.order("poweroff", machine, fence=pair.fence + 1)
        pair.b.obey(order)
        end = worker_host.end_of(order.job_id)
        assert (end.event, end.power) == ("SUCCEEDED", "OFF")
        assert stays_off(worker_host, machine)
        assert restart_watcher.find(config) is None
    finally:
        pair.close()


class TestHangingXl:
    """An `xl create` that a killed worker left behind, and that hangs."""

    @pytest.fixture
    def hanging(self, worker_host, dom0, machine, monkeypatch):
        monkeypatch.setattr(domains, "RESTART_SECONDS", 0.5)
        worker_host.do(dom0, "poweroff", machine)
        worker_host.stand_in.lay_out(create={"hang": True, "at": "parsed"})
        config = worker_host.settings.machine_config(machine.id)
        process = subprocess.Popen(
            [worker_host.stand_in.xl, "create", "-q", str(config)], start_new_session=True
        )
        wait_for(lambda: restart_watcher.find(config) == process.pid, "the process", 10)
        threading.Thread(target=process.wait, daemon=True).start()
        yield process
        process.kill()

    def test_keeps_nobody_from_pulling_the_plug(self, worker_host, dom0, machine, hanging):
        end = worker_host.do(dom0, "poweroff", machine)
        assert (end.event, end.power) == ("SUCCEEDED", "OFF")
        assert restart_watcher.find(worker_host.settings.machine_config(machine.id)) is None

    def test_of_another_machine_is_left_alone(self, worker_host, dom0, machine, hanging):
        other = worker_host.machine()
        assert worker_host.do(dom0, "poweroff", other).event == "SUCCEEDED"
        restart_watcher.end(hanging.pid, worker_host.settings.machine_config(other.id))
        assert restart_watcher.find(worker_host.settings.machine_config(machine.id)) == hanging.pid


def test_whoever_only_reads_a_configuration_is_no_watcher(tmp_path):
    config = tmp_path / "machine.cfg"
    config.write_text("")
    reader = subprocess.Popen([sys.executable, "-c", "input()", str(config)], stdin=subprocess.PIPE)
    try:
        assert restart_watcher.find(config) is None
        restart_watcher.end(reader.pid, config)
        assert reader.poll() is None
    finally:
        reader.kill()
        reader.communicate()
    restart_watcher.end(reader.pid, config)

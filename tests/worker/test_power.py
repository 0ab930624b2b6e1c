"""Starting, shutting down, powering off, rebooting and deleting, each also when it is asked twice."""

import pytest

from tests.worker.worker_host import WorkerHost
from worker.contract import MachineSpec
from worker.job.context import HostContext
from worker.xen.xl import Xl


@pytest.fixture
def dom0(worker_host: WorkerHost) -> HostContext:
    return worker_host.dom0()


@pytest.fixture
def machine(worker_host: WorkerHost, dom0: HostContext) -> MachineSpec:
    machine = worker_host.machine()
    assert worker_host.do(dom0, "create", machine).event == "SUCCEEDED"
    return machine


def domid(worker_host: WorkerHost, machine: MachineSpec) -> int:
    domain = Xl(worker_host.stand_in.xl).domain(machine.id)
    assert domain is not None
    return domain.domid


class TestShutdown:
    def test_waits_until_the_name_is_gone_and_keeps_the_disk(
        self, worker_host: WorkerHost, dom0: HostContext, machine: MachineSpec
    ) -> None:
        end = worker_host.do(dom0, "shutdown", machine)
        assert (end.event, end.power) == ("SUCCEEDED", "OFF")
        assert worker_host.domains() == []
        assert worker_host.disk(machine).exists()

    def test_of_a_machine_that_is_off_succeeds(
        self, worker_host: WorkerHost, dom0: HostContext, machine: MachineSpec
    ) -> None:
        worker_host.do(dom0, "shutdown", machine)
        assert worker_host.do(dom0, "shutdown", machine).event == "SUCCEEDED"

    def test_says_so_when_the_guest_does_not_listen(
        self, worker_host: WorkerHost, dom0: HostContext, machine: MachineSpec
    ) -> None:
        worker_host.stand_in.lay_out(guest={"ignores_shutdown": True})
        other = worker_host.machine()
        worker_host.do(dom0, "create", other)
        end = worker_host.do(dom0, "shutdown", other, deadline_seconds=8)
        assert (end.event, end.error_code, end.power) == ("FAILED", "GUEST_IGNORED_SHUTDOWN", "RUNNING")
        assert set(worker_host.domains()) == {machine.id, other.id}

    def test_does_nothing_when_the_list_cannot_be_read(
        self, worker_host: WorkerHost, dom0: HostContext, machine: MachineSpec
    ) -> None:
        worker_host.stand_in.lay_out(list={"columns": 5})
        end = worker_host.do(dom0, "shutdown", machine)
        assert (end.event, end.error_code, end.power) == ("FAILED", "XL_UNREADABLE", "UNKNOWN")


class TestBesideStrangers:
    """Domains that somebody made by hand, or left half made, are nobody else's trouble."""

    @pytest.fixture
    def stranger(self, worker_host: WorkerHost) -> str:
        name = "0f0f0f0f-1111-2222-3333-444444444444"
        cfg = worker_host.stand_in.directory / "stranger.cfg"
        kernel = worker_host.settings.kernels_dir / "vmlinuz"
        cfg.write_text(f'name = "{name}"\nuuid = "{name}"\nkernel = "{kernel}"\nmemory = 64\ntype = "pv"\n')
        Xl(worker_host.stand_in.xl).create(cfg)
        return name

    @pytest.mark.parametrize("is_half_made", [False, True])
    def test_every_verb_works(
        self,
        worker_host: WorkerHost,
        dom0: HostContext,
        machine: MachineSpec,
        stranger: str,
        is_half_made: bool,
    ) -> None:
        if is_half_made:
            worker_host.stand_in.lay_out(list={"null_name": stranger})
        for verb in ("reboot", "shutdown", "start", "poweroff", "delete"):
            end = worker_host.do(dom0, verb, machine)
            assert (end.event, end.error_message) == ("SUCCEEDED", ""), verb
        assert worker_host.domains() == [stranger]

    @pytest.mark.parametrize("verb", ["start", "poweroff", "delete", "shutdown"])
    def test_a_machine_that_is_half_made_itself_is_set_right(
        self, worker_host: WorkerHost, dom0: HostContext, machine: MachineSpec, verb: str
    ) -> None:
        worker_host.stand_in.lay_out(list={"null_name": machine.domain, "times": 8})
        end = worker_host.do(dom0, verb, machine)
        assert (end.event, end.error_message) == ("SUCCEEDED", "")
        assert worker_host.domains() == ([machine.id] if verb == "start" else [])

    def test_the_owner_reads_no_line_of_a_list_that_cannot_be_read(
        self, worker_host: WorkerHost, dom0: HostContext, machine: MachineSpec, stranger: str
    ) -> None:
        worker_host.stand_in.lay_out(list={"columns": 7})
        end = worker_host.do(dom0, "shutdown", machine)
        assert (end.event, end.error_code) == ("FAILED", "XL_UNREADABLE")
        assert stranger not in end.error_message
        assert "xl: " not in end.error_message


class TestStart:
    def test_boots_the_same_disk_again(
        self, worker_host: WorkerHost, dom0: HostContext, machine: MachineSpec
    ) -> None:
        inode = worker_host.disk(machine).stat().st_ino
        worker_host.do(dom0, "shutdown", machine)
        end = worker_host.do(dom0, "start", machine)
        assert (end.event, end.power, end.step) == ("SUCCEEDED", "RUNNING", "LOGIN")
        assert worker_host.disk(machine).stat().st_ino == inode
        assert worker_host.domains() == [machine.id]

    def test_of_a_running_machine_succeeds_and_starts_nothing(
        self, worker_host: WorkerHost, dom0: HostContext, machine: MachineSpec
    ) -> None:
        before = domid(worker_host, machine)
        assert worker_host.do(dom0, "start", machine).event == "SUCCEEDED"
        assert domid(worker_host, machine) == before

    def test_without_a_disk_is_refused(self, worker_host: WorkerHost, dom0: HostContext) -> None:
        end = worker_host.do(dom0, "start", worker_host.machine())
        assert (end.event, end.error_code) == ("FAILED", "MACHINE_MISSING")

    def test_starts_nothing_when_the_list_cannot_be_read(
        self, worker_host: WorkerHost, dom0: HostContext, machine: MachineSpec
    ) -> None:
        worker_host.do(dom0, "shutdown", machine)
        worker_host.stand_in.lay_out(list={"empty": True})
        end = worker_host.do(dom0, "start", machine)
        assert end.error_code == "XL_UNREADABLE"
        worker_host.stand_in.lay_out()
        assert worker_host.domains() == []

    def test_a_failed_start_leaves_no_domain_and_the_disk_as_it_was(
        self, worker_host: WorkerHost, dom0: HostContext, machine: MachineSpec
    ) -> None:
        worker_host.do(dom0, "shutdown", machine)
        before = worker_host.disk(machine).stat()
        worker_host.stand_in.lay_out(create={"exit": 1, "stderr": "libxl: error: no\n"})
        end = worker_host.do(dom0, "start", machine)
        assert (end.event, end.error_code) == ("FAILED", "XL_FAILED")
        worker_host.stand_in.lay_out()
        assert worker_host.domains() == []
        assert worker_host.disk(machine).stat().st_ino == before.st_ino
        assert worker_host.do(dom0, "start", machine).event == "SUCCEEDED"

    def test_a_guest_without_a_prompt_is_running_all_the_same(
        self, worker_host: WorkerHost, dom0: HostContext, machine: MachineSpec
    ) -> None:
        worker_host.do(dom0, "poweroff", machine)
        worker_host.stand_in.lay_out(guest={"no_login": True})
        end = worker_host.do(dom0, "start", machine, deadline_seconds=22)
        assert (end.event, end.power, end.step) == ("SUCCEEDED", "RUNNING", "INIT")


class TestPoweroff:
    def test_pulls_the_plug_and_keeps_the_disk(
        self, worker_host: WorkerHost, dom0: HostContext, machine: MachineSpec
    ) -> None:
        end = worker_host.do(dom0, "poweroff", machine)
        assert (end.event, end.power) == ("SUCCEEDED", "OFF")
        assert worker_host.domains() == []
        assert worker_host.disk(machine).exists()
        assert worker_host.do(dom0, "poweroff", machine).event == "SUCCEEDED"

    def test_leaves_other_machines_alone(
        self, worker_host: WorkerHost, dom0: HostContext, machine: MachineSpec
    ) -> None:
        other = worker_host.machine()
        worker_host.do(dom0, "create", other)
        worker_host.do(dom0, "poweroff", machine)
        assert worker_host.domains() == [other.id]


class TestReboot:
    def test_comes_back_with_another_domid(
        self, worker_host: WorkerHost, dom0: HostContext, machine: MachineSpec
    ) -> None:
        before = domid(worker_host, machine)
        end = worker_host.do(dom0, "reboot", machine)
        assert (end.event, end.power, end.step) == ("SUCCEEDED", "RUNNING", "LOGIN"), end
        assert domid(worker_host, machine) != before
        assert worker_host.domains() == [machine.id]

    def test_of_a_machine_that_is_off_is_refused(
        self, worker_host: WorkerHost, dom0: HostContext, machine: MachineSpec
    ) -> None:
        worker_host.do(dom0, "poweroff", machine)
        assert worker_host.do(dom0, "reboot", machine).error_code == "MACHINE_OFF"


class TestDelete:
    def test_removes_the_domain_and_every_file_of_the_machine(
        self, worker_host: WorkerHost, dom0: HostContext, machine: MachineSpec
    ) -> None:
        end = worker_host.do(dom0, "delete", machine)
        assert (end.event, end.power) == ("SUCCEEDED", "OFF")
        assert worker_host.domains() == []
        assert worker_host.files_of(machine) == []

    def test_a_second_time_succeeds_too(
        self, worker_host: WorkerHost, dom0: HostContext, machine: MachineSpec
    ) -> None:
        worker_host.do(dom0, "delete", machine)
        assert worker_host.do(dom0, "delete", machine).event == "SUCCEEDED"

    def test_leaves_what_it_does_not_know(
        self, worker_host: WorkerHost, dom0: HostContext, machine: MachineSpec
    ) -> None:
        other = worker_host.machine()
        worker_host.do(dom0, "create", other)
        foreign = worker_host.disk(machine).parent / "admins-own.img"
        foreign.write_bytes(b"precious")
        assert worker_host.do(dom0, "delete", machine).event == "SUCCEEDED"
        assert foreign.read_bytes() == b"precious"
        assert not worker_host.disk(machine).exists()
        assert worker_host.disk(other).exists()
        assert worker_host.domains() == [other.id]

    def test_deletes_nothing_when_the_list_cannot_be_read(
        self, worker_host: WorkerHost, dom0: HostContext, machine: MachineSpec
    ) -> None:
        worker_host.stand_in.lay_out(list={"empty": True})
        end = worker_host.do(dom0, "delete", machine)
        assert end.error_code == "XL_UNREADABLE"
        assert worker_host.disk(machine).exists()

    def test_a_machine_that_was_never_made_is_deleted(
        self, worker_host: WorkerHost, dom0: HostContext
    ) -> None:
        assert worker_host.do(dom0, "delete", worker_host.machine()).event == "SUCCEEDED"

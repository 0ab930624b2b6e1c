"""Starting, shutting down, powering off, rebooting and deleting, each also when it is asked twice."""

import pytest

from tests.worker.bed import Bed
from worker.contract import MachineSpec
from worker.job.context import Dom0
from worker.xen.xl import Xl


@pytest.fixture
def dom0(bed: Bed) -> Dom0:
    return bed.dom0()


@pytest.fixture
def machine(bed: Bed, dom0: Dom0) -> MachineSpec:
    machine = bed.machine()
    assert bed.do(dom0, "create", machine).event == "SUCCEEDED"
    return machine


def domid(bed: Bed, machine: MachineSpec) -> int:
    domain = Xl(bed.stand_in.xl, str(bed.stand_in.programs)).domain(machine.id)
    assert domain is not None
    return domain.domid


class TestShutdown:
    def test_waits_until_the_name_is_gone_and_keeps_the_disk(
        self, bed: Bed, dom0: Dom0, machine: MachineSpec
    ) -> None:
        end = bed.do(dom0, "shutdown", machine)
        assert (end.event, end.power) == ("SUCCEEDED", "OFF")
        assert bed.domains() == []
        assert bed.disk(machine).exists()

    def test_of_a_machine_that_is_off_succeeds(self, bed: Bed, dom0: Dom0, machine: MachineSpec) -> None:
        bed.do(dom0, "shutdown", machine)
        assert bed.do(dom0, "shutdown", machine).event == "SUCCEEDED"

    def test_says_so_when_the_guest_does_not_listen(self, bed: Bed, dom0: Dom0, machine: MachineSpec) -> None:
        bed.stand_in.lay_out(guest={"ignores_shutdown": True})
        other = bed.machine()
        bed.do(dom0, "create", other)
        end = bed.do(dom0, "shutdown", other, deadline_seconds=8)
        assert (end.event, end.error_code, end.power) == ("FAILED", "GUEST_IGNORED_SHUTDOWN", "RUNNING")
        assert set(bed.domains()) == {machine.id, other.id}

    def test_does_nothing_when_the_list_cannot_be_read(
        self, bed: Bed, dom0: Dom0, machine: MachineSpec
    ) -> None:
        bed.stand_in.lay_out(list={"columns": 5})
        end = bed.do(dom0, "shutdown", machine)
        assert (end.event, end.error_code, end.power) == ("FAILED", "XL_UNREADABLE", "UNKNOWN")


class TestBesideStrangers:
    """Domains that somebody made by hand, or left half made, are nobody else's trouble."""

    @pytest.fixture
    def stranger(self, bed: Bed) -> str:
        name = "0f0f0f0f-1111-2222-3333-444444444444"
        cfg = bed.stand_in.directory / "stranger.cfg"
        kernel = bed.settings.kernels_dir / "vmlinuz"
        cfg.write_text(f'name = "{name}"\nuuid = "{name}"\nkernel = "{kernel}"\nmemory = 64\ntype = "pv"\n')
        Xl(bed.stand_in.xl, str(bed.stand_in.programs)).create(cfg)
        return name

    @pytest.mark.parametrize("is_half_made", [False, True])
    def test_every_verb_works(
        self, bed: Bed, dom0: Dom0, machine: MachineSpec, stranger: str, is_half_made: bool
    ) -> None:
        if is_half_made:
            bed.stand_in.lay_out(list={"null_name": stranger})
        for verb in ("reboot", "shutdown", "start", "poweroff", "delete"):
            end = bed.do(dom0, verb, machine)
            assert (end.event, end.error_message) == ("SUCCEEDED", ""), verb
        assert bed.domains() == [stranger]

    @pytest.mark.parametrize("verb", ["start", "poweroff", "delete", "shutdown"])
    def test_a_machine_that_is_half_made_itself_is_set_right(
        self, bed: Bed, dom0: Dom0, machine: MachineSpec, verb: str
    ) -> None:
        bed.stand_in.lay_out(list={"null_name": machine.domain, "times": 8})
        end = bed.do(dom0, verb, machine)
        assert (end.event, end.error_message) == ("SUCCEEDED", "")
        assert bed.domains() == ([machine.id] if verb == "start" else [])

    def test_the_owner_reads_no_line_of_a_list_that_cannot_be_read(
        self, bed: Bed, dom0: Dom0, machine: MachineSpec, stranger: str
    ) -> None:
        bed.stand_in.lay_out(list={"columns": 7})
        end = bed.do(dom0, "shutdown", machine)
        assert (end.event, end.error_code) == ("FAILED", "XL_UNREADABLE")
        assert stranger not in end.error_message
        assert "xl said" not in end.error_message


class TestStart:
    def test_boots_the_same_disk_again(self, bed: Bed, dom0: Dom0, machine: MachineSpec) -> None:
        inode = bed.disk(machine).stat().st_ino
        bed.do(dom0, "shutdown", machine)
        end = bed.do(dom0, "start", machine)
        assert (end.event, end.power, end.step) == ("SUCCEEDED", "RUNNING", "LOGIN")
        assert bed.disk(machine).stat().st_ino == inode
        assert bed.domains() == [machine.id]

    def test_of_a_running_machine_succeeds_and_starts_nothing(
        self, bed: Bed, dom0: Dom0, machine: MachineSpec
    ) -> None:
        before = domid(bed, machine)
        assert bed.do(dom0, "start", machine).event == "SUCCEEDED"
        assert domid(bed, machine) == before

    def test_without_a_disk_is_refused(self, bed: Bed, dom0: Dom0) -> None:
        end = bed.do(dom0, "start", bed.machine())
        assert (end.event, end.error_code) == ("FAILED", "MACHINE_MISSING")

    def test_starts_nothing_when_the_list_cannot_be_read(
        self, bed: Bed, dom0: Dom0, machine: MachineSpec
    ) -> None:
        bed.do(dom0, "shutdown", machine)
        bed.stand_in.lay_out(list={"empty": True})
        end = bed.do(dom0, "start", machine)
        assert end.error_code == "XL_UNREADABLE"
        bed.stand_in.lay_out()
        assert bed.domains() == []

    def test_a_failed_start_leaves_no_domain_and_the_disk_as_it_was(
        self, bed: Bed, dom0: Dom0, machine: MachineSpec
    ) -> None:
        bed.do(dom0, "shutdown", machine)
        before = bed.disk(machine).stat()
        bed.stand_in.lay_out(create={"exit": 1, "stderr": "libxl: error: no\n"})
        end = bed.do(dom0, "start", machine)
        assert (end.event, end.error_code) == ("FAILED", "XL_FAILED")
        bed.stand_in.lay_out()
        assert bed.domains() == []
        assert bed.disk(machine).stat().st_ino == before.st_ino
        assert bed.do(dom0, "start", machine).event == "SUCCEEDED"

    def test_a_guest_without_a_prompt_is_running_all_the_same(
        self, bed: Bed, dom0: Dom0, machine: MachineSpec
    ) -> None:
        bed.do(dom0, "poweroff", machine)
        bed.stand_in.lay_out(guest={"no_login": True})
        end = bed.do(dom0, "start", machine, deadline_seconds=22)
        assert (end.event, end.power, end.step) == ("SUCCEEDED", "RUNNING", "INIT")


class TestPoweroff:
    def test_pulls_the_plug_and_keeps_the_disk(self, bed: Bed, dom0: Dom0, machine: MachineSpec) -> None:
        end = bed.do(dom0, "poweroff", machine)
        assert (end.event, end.power) == ("SUCCEEDED", "OFF")
        assert bed.domains() == []
        assert bed.disk(machine).exists()
        assert bed.do(dom0, "poweroff", machine).event == "SUCCEEDED"

    def test_leaves_other_machines_alone(self, bed: Bed, dom0: Dom0, machine: MachineSpec) -> None:
        other = bed.machine()
        bed.do(dom0, "create", other)
        bed.do(dom0, "poweroff", machine)
        assert bed.domains() == [other.id]


class TestReboot:
    def test_comes_back_with_another_domid(self, bed: Bed, dom0: Dom0, machine: MachineSpec) -> None:
        before = domid(bed, machine)
        end = bed.do(dom0, "reboot", machine)
        assert (end.event, end.power, end.step) == ("SUCCEEDED", "RUNNING", "LOGIN"), end
        assert domid(bed, machine) != before
        assert bed.domains() == [machine.id]

    def test_of_a_machine_that_is_off_is_refused(self, bed: Bed, dom0: Dom0, machine: MachineSpec) -> None:
        bed.do(dom0, "poweroff", machine)
        assert bed.do(dom0, "reboot", machine).error_code == "MACHINE_OFF"


class TestDelete:
    def test_removes_the_domain_and_every_file_of_the_machine(
        self, bed: Bed, dom0: Dom0, machine: MachineSpec
    ) -> None:
        end = bed.do(dom0, "delete", machine)
        assert (end.event, end.power) == ("SUCCEEDED", "OFF")
        assert bed.domains() == []
        assert bed.files_of(machine) == []

    def test_a_second_time_succeeds_too(self, bed: Bed, dom0: Dom0, machine: MachineSpec) -> None:
        bed.do(dom0, "delete", machine)
        assert bed.do(dom0, "delete", machine).event == "SUCCEEDED"

    def test_leaves_what_it_does_not_know(self, bed: Bed, dom0: Dom0, machine: MachineSpec) -> None:
        other = bed.machine()
        bed.do(dom0, "create", other)
        foreign = bed.disk(machine).parent / "admins-own.img"
        foreign.write_bytes(b"precious")
        assert bed.do(dom0, "delete", machine).event == "SUCCEEDED"
        assert foreign.read_bytes() == b"precious"
        assert not bed.disk(machine).exists()
        assert bed.disk(other).exists()
        assert bed.domains() == [other.id]

    def test_deletes_nothing_when_the_list_cannot_be_read(
        self, bed: Bed, dom0: Dom0, machine: MachineSpec
    ) -> None:
        bed.stand_in.lay_out(list={"empty": True})
        end = bed.do(dom0, "delete", machine)
        assert end.error_code == "XL_UNREADABLE"
        assert bed.disk(machine).exists()

    def test_a_machine_that_was_never_made_is_deleted(self, bed: Bed, dom0: Dom0) -> None:
        assert bed.do(dom0, "delete", bed.machine()).event == "SUCCEEDED"

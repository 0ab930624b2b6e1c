"""A machine that is off goes to a host which does not see its disks: copied, compared, and still kept."""

import dataclasses
import random
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.worker.moving import Ends, Host, Pair
from tests.worker.worker_host import WorkerHost, digest
from worker import contract, failpoints
from worker.contract import DiskSpec, ImageSpec, MachineSpec, SettleMove
from worker.guest import machine_files


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    pair = Pair(tmp_path, is_shared=False)
    pair.b.worker_host.listen()
    yield pair
    pair.close()


def told(ends: Ends) -> list[str]:
    return [f"{end.event} {end.error_code} {end.error_message}" for end in (ends.source, ends.target)]


def off(pair: Pair, **values: Any) -> MachineSpec:
    """A machine that is off on the first host: disks with something on them, and what is known of it."""
    worker_host = pair.a.worker_host
    image = ImageSpec("minimal.ext4", "0" * 64, "FILESYSTEM", kernel="vmlinuz", ramdisk="initrd")
    machine = worker_host.machine(**{"image": image, **values})
    worker_host.disk(machine).parent.mkdir()
    for number, disk in enumerate(machine.disks):
        with worker_host.disk(machine, disk.id).open("wb") as out:
            out.truncate(disk.size_mib << 20)
            for place in (0, (1 << 20) + 7, (disk.size_mib << 20) - 4096):
                out.seek(place)
                out.write(random.Random(number + place).randbytes(4096))
    machine_files.write_facts(worker_host.settings, machine, job_id=str(uuid.uuid4()))
    return machine


def carry(pair: Pair, machine: MachineSpec, *, back: bool = False, restarts: bool = False) -> Ends:
    source, target = (pair.b, pair.a) if back else (pair.a, pair.b)
    cold = {"copied": tuple(disk.id for disk in machine.disks), "restarts": restarts}
    return pair.move(machine, source, target, method="COLD", cold=cold)


def discard(
    pair: Pair, ends: Ends, machine: MachineSpec, *, attempt: int = 0, **values: Any
) -> contract.Report:
    """The portal's order to let the kept disks go."""
    move_id = ends.source.job_id
    named = tuple(disk.id for disk in machine.disks)
    order = SettleMove(
        contract.discard_job_id(move_id, attempt),
        pair.fence,
        machine,
        move_id,
        "SOURCE",
        "MOVED",
        deadline_seconds=120,
        discards=named,
    )
    order = dataclasses.replace(order, **values)
    pair.a.obey(order)
    return pair.a.worker_host.end_of(order.job_id)


def facts(end: contract.Report) -> contract.MoveFacts:
    assert end.move is not None
    return end.move


class TestOff:
    def test_its_disk_is_there_bit_by_bit_and_still_where_it_was(self, pair: Pair) -> None:
        machine = off(pair)
        before = digest(pair.a.worker_host.disk(machine))
        ends = carry(pair, machine)
        assert (ends.source.event, ends.target.event) == ("SUCCEEDED", "SUCCEEDED"), told(ends)
        assert digest(pair.b.worker_host.disk(machine)) == digest(pair.a.worker_host.disk(machine)) == before
        assert (ends.source.power, ends.target.power) == ("OFF", "OFF")
        assert facts(ends.source).go_passed
        assert facts(ends.target).go_passed
        # what the target holds is all that a start needs; the source knows nothing of the machine any more
        assert pair.b.worker_host.settings.machine_config(machine.id).exists()
        assert not pair.a.worker_host.settings.machine_facts(machine.id).exists()
        pair.fence += 1
        order = contract.StartMachine(str(uuid.uuid4()), pair.fence, machine, deadline_seconds=30)
        pair.b.obey(order)
        assert pair.b.worker_host.end_of(order.job_id).event == "SUCCEEDED"
        assert pair.ran_twice() == []

    def test_holes_and_zeros_are_not_sent(self, pair: Pair) -> None:
        machine = off(pair, disks=(DiskSpec("root", "local", 512, "xvda"),))
        with pair.a.worker_host.disk(machine).open("r+b") as disk:
            disk.seek(100 << 20)
            disk.write(bytes(8 << 20))
        ends = carry(pair, machine)
        assert ends.target.event == "SUCCEEDED", told(ends)
        assert facts(ends.source).total_mib == 9
        assert facts(ends.source).bytes_sent < 1 << 20
        assert pair.b.worker_host.disk(machine).stat().st_size == 512 << 20
        assert pair.b.worker_host.disk(machine).stat().st_blocks * 512 < 2 << 20

    def test_every_disk_and_the_seed_go_with_it(self, pair: Pair) -> None:
        disks = (DiskSpec("root", "local", 16, "xvda"), DiskSpec("data", "local", 4, "xvdb"))
        machine = off(pair, disks=disks)
        before = [digest(pair.a.worker_host.disk(machine, disk.id)) for disk in disks]
        seed = b"instance-id: 7\n" * 4000
        machine_files.seed_iso(pair.a.worker_host.settings, machine.id).write_bytes(seed)
        ends = carry(pair, machine)
        assert ends.target.event == "SUCCEEDED", told(ends)
        assert [digest(pair.b.worker_host.disk(machine, disk.id)) for disk in disks] == before
        assert machine_files.seed_iso(pair.b.worker_host.settings, machine.id).read_bytes() == seed

    def test_comes_back_once_the_old_disks_are_let_go(self, pair: Pair) -> None:
        machine = off(pair)
        there = carry(pair, machine)
        order = pair.receive(machine, pair.b, method="COLD", copied=("root",))
        pair.a.obey(order)
        assert pair.a.worker_host.end_of(order.job_id).error_code == "DISK_TAKEN"
        assert discard(pair, there, machine).event == "SUCCEEDED"
        assert not pair.a.worker_host.disk(machine).exists()
        back = carry(pair, machine, back=True)
        assert (back.source.event, back.target.event) == ("SUCCEEDED", "SUCCEEDED"), told(back)
        assert pair.a.worker_host.disk(machine).exists()


class TestRunning:
    def test_is_shut_down_carried_over_and_started_there(self, pair: Pair) -> None:
        machine = pair.machine()
        ends = carry(pair, machine, restarts=True)
        assert (ends.source.event, ends.target.event) == ("SUCCEEDED", "SUCCEEDED"), told(ends)
        assert (ends.source.power, ends.target.power) == ("OFF", "RUNNING")
        assert facts(ends.target).booted
        assert pair.a.powers(machine) == {}
        assert pair.b.powers(machine) == {machine.domain: "RUNNING"}
        assert pair.ran_twice() == []
        assert pair.a.worker_host.disk(machine).exists()

    def test_is_not_shut_down_by_a_move_that_did_not_say_so(self, pair: Pair) -> None:
        machine = pair.machine()
        ends = carry(pair, machine)
        assert ends.source.error_code == "MOVE_REFUSED"
        assert pair.a.powers(machine) == {machine.domain: "RUNNING"}

    def test_runs_again_where_it_was_when_a_bit_is_flipped_on_the_way(self, pair: Pair) -> None:
        machine = pair.machine()
        draft = pair.b.worker_host.disk(machine).with_suffix(".draft")

        def flip(point: str) -> None:
            if point == "a block is written":
                with draft.open("r+b") as disk:
                    disk.seek(9 << 20)
                    disk.write(b"!")

        failpoints.listener = flip
        try:
            ends = carry(pair, machine, restarts=True)
        finally:
            failpoints.listener = None
        assert (ends.target.event, ends.target.error_code) == ("FAILED", "COPY_DIFFERS"), told(ends)
        assert ends.source.event == "FAILED"
        assert not facts(ends.source).go_passed
        assert pair.a.powers(machine) == {machine.domain: "RUNNING"}
        assert pair.ran_twice() == []
        # nothing of it is left on the target but the record of the move
        assert {name.split("/")[0] for name in pair.b.worker_host.files_of(machine)} <= {"moves"}


def domid_of(pair: Pair, machine: MachineSpec) -> int:
    return next(
        found.domid for found in pair.a.worker_host.dom0().xl.domains() if found.name == machine.domain
    )


class TestCopiedWhileItRuns:
    """Its disks are gone over before it is shut down; what changes meanwhile arrives all the same."""

    def _carry(self, pair: Pair, machine: MachineSpec, meanwhile: Callable[[int], object]) -> Ends:
        gone_over = 0

        def listen(point: str) -> None:
            nonlocal gone_over
            if point == "the disks were gone over":
                gone_over += 1
                meanwhile(gone_over)

        failpoints.listener = listen
        try:
            return carry(pair, machine, restarts=True)
        finally:
            failpoints.listener = None

    def test_what_its_guest_writes_and_empties_meanwhile(self, pair: Pair) -> None:
        machine = pair.machine()
        disk, powers = pair.a.worker_host.disk(machine), []
        size = disk.stat().st_size
        with disk.open("r+b") as out:
            out.seek(size - 4096)
            out.write(b"the end" * 500)

        def write(_times: int) -> None:
            powers.append(pair.a.powers(machine))
            with disk.open("r+b") as out:
                out.seek(5 << 20)
                out.write(random.Random(7).randbytes(700_000))
                # where there was something are zeros, and a hole
                out.seek(0)
                out.write(bytes(1 << 20))
                out.truncate(size - (1 << 20))
                out.truncate(size)

        ends = self._carry(pair, machine, write)
        assert (ends.source.event, ends.target.event) == ("SUCCEEDED", "SUCCEEDED"), told(ends)
        assert powers == [{machine.domain: "RUNNING"}]
        assert digest(pair.b.worker_host.disk(machine)) == digest(disk)
        assert pair.ran_twice() == []

    def test_as_often_as_it_helps(self, pair: Pair) -> None:
        machine = pair.machine(disks=(DiskSpec("root", "local", 200, "xvda"),))
        disk, seen = pair.a.worker_host.disk(machine), []

        def write(times: int) -> None:
            seen.append(times)
            with disk.open("r+b") as out:
                out.seek(100 << 20)
                out.write(random.Random(times).randbytes((90 << 20) >> times))

        write(0)
        seen.clear()
        ends = self._carry(pair, machine, write)
        assert ends.target.event == "SUCCEEDED", told(ends)
        assert seen == [1, 2, 3]
        assert digest(pair.b.worker_host.disk(machine)) == digest(disk)

    def test_stays_off_where_its_guest_went_off_meanwhile(self, pair: Pair) -> None:
        machine = pair.machine()
        # a job would wait for the move to end
        ends = self._carry(
            pair, machine, lambda _times: pair.a.worker_host.dom0().xl.destroy(domid_of(pair, machine))
        )
        assert (ends.source.event, ends.source.error_code) == ("FAILED", "MACHINE_OFF"), told(ends)
        assert pair.a.powers(machine) == pair.b.powers(machine) == {}
        assert pair.a.worker_host.disk(machine).exists()
        assert {name.split("/")[0] for name in pair.b.worker_host.files_of(machine)} <= {"moves"}


class TestRefused:
    def test_nothing_is_written_over(self, pair: Pair) -> None:
        machine = off(pair)
        mine = pair.b.worker_host.disk(machine)
        mine.parent.mkdir()
        for name in (mine, mine.with_suffix(".draft")):
            name.write_bytes(b"somebody's")
            end = self._receive(pair, machine)
            assert (end.error_code, "already has a disk" in end.error_message) == ("DISK_TAKEN", True)
            assert name.read_bytes() == b"somebody's"
            name.unlink()

    def test_where_there_is_no_room(self, pair: Pair) -> None:
        machine = off(pair)
        huge = dataclasses.replace(machine, disks=(DiskSpec("root", "local", 60 << 20, "xvda"),))
        assert self._receive(pair, huge).error_code == "DISK_FULL"

    def test_where_the_kernel_is_missing(self, pair: Pair) -> None:
        machine = off(pair)
        (pair.b.worker_host.settings.kernels_dir / "vmlinuz").unlink()
        assert self._receive(pair, machine).error_code == "KERNEL_MISSING"

    def test_disks_that_are_not_the_machines_own(self, pair: Pair) -> None:
        machine = off(pair)
        for copied in (("other",), ("root", "root")):
            assert self._receive(pair, machine, copied=copied).error_code == "ORDER_REFUSED"
        live = pair.receive(machine, pair.a, method="LIVE", copied=("root",))
        pair.b.obey(live)
        assert pair.b.worker_host.end_of(live.job_id).error_code == "ORDER_REFUSED"

    def _receive(self, pair: Pair, machine: MachineSpec, **values: Any) -> contract.Report:
        order = pair.receive(machine, pair.a, method="COLD", **{"copied": ("root",), **values})
        pair.b.obey(order)
        return pair.b.worker_host.end_of(order.job_id)


class TestLetGo:
    @pytest.fixture
    def moved(self, pair: Pair) -> tuple[MachineSpec, Ends]:
        machine = off(pair)
        return machine, carry(pair, machine)

    def test_only_what_is_named_goes(self, pair: Pair) -> None:
        disks = (DiskSpec("root", "local", 16, "xvda"), DiskSpec("data", "local", 4, "xvdb"))
        machine = off(pair, disks=disks)
        ends = carry(pair, machine)
        assert discard(pair, ends, machine, discards=("root",)).event == "SUCCEEDED"
        assert not pair.a.worker_host.disk(machine).exists()
        assert pair.a.worker_host.disk(machine, "data").exists()
        assert pair.b.worker_host.disk(machine).exists()

    def test_never_where_the_move_did_not_hand_it_over(self, pair: Pair) -> None:
        machine = off(pair)
        refused = carry(pair, machine, restarts=True)
        assert refused.source.error_code == "MACHINE_OFF"
        end = discard(pair, refused, machine)
        assert (end.event, end.error_code) == ("FAILED", "OUTCOME_CONTRADICTED")
        assert pair.a.worker_host.disk(machine).exists()

    def test_never_by_a_move_of_another_day(self, pair: Pair, moved: tuple[MachineSpec, Ends]) -> None:
        """It came back since: the old order is late, whatever it names."""
        machine, there = moved
        assert discard(pair, there, machine).event == "SUCCEEDED"
        fence = pair.fence
        assert carry(pair, machine, back=True).target.event == "SUCCEEDED"
        end = discard(pair, there, machine, attempt=1, fence=fence)
        assert (end.event, end.error_code) == ("FAILED", "FENCED")
        assert pair.a.worker_host.disk(machine).exists()

    def test_never_on_the_target(self, pair: Pair, moved: tuple[MachineSpec, Ends]) -> None:
        machine, ends = moved
        move_id = ends.source.job_id
        for side, verdict in (("TARGET", "MOVED"), ("SOURCE", "STAYED")):
            order = SettleMove(
                str(uuid.uuid4()),
                pair.fence,
                machine,
                move_id,
                side,
                verdict,
                deadline_seconds=120,
                discards=("root",),
            )
            for host in (pair.a, pair.b):
                assert self._end(host, order).error_code == "ORDER_REFUSED"
        # the target is no source of this move
        order = SettleMove(
            str(uuid.uuid4()),
            pair.fence,
            machine,
            move_id,
            "SOURCE",
            "MOVED",
            deadline_seconds=120,
            discards=("root",),
        )
        assert self._end(pair.b, order).error_code == "OUTCOME_CONTRADICTED"
        assert pair.b.worker_host.disk(machine).exists()

    def test_never_of_a_target_that_was_given_them(self, pair: Pair, moved: tuple[MachineSpec, Ends]) -> None:
        """A verdict that is wrong: the machine may have run from its copy since, and gone off."""
        machine, ends = moved
        end = pair.settle(ends, machine, pair.b, "TARGET", "STAYED")
        assert (end.event, end.error_code) == ("FAILED", "OUTCOME_CONTRADICTED")
        assert pair.b.worker_host.disk(machine).exists()

    def _end(self, host: Host, order: SettleMove) -> contract.Report:
        host.obey(order)
        return host.worker_host.end_of(order.job_id)


def test_only_what_this_job_has_written_down_is_removed(worker_host: WorkerHost) -> None:
    machine, dom0 = worker_host.machine(), worker_host.dom0()
    directory = worker_host.settings.machine_dir(machine.id)
    directory.mkdir()
    (directory / ".machine.json.new").write_bytes(b"half of")  # killed while it wrote
    machine_files.forget_job(dom0, machine.id, job_id="mine")
    assert not directory.exists()
    machine_files.write_facts(worker_host.settings, machine, job_id="another's")
    machine_files.forget_job(dom0, machine.id, job_id="mine")
    assert machine_files.read_facts(worker_host.settings, machine.id) is not None
    machine_files.forget_job(dom0, machine.id, job_id="another's")
    assert not directory.exists()


def test_a_machine_json_that_cannot_be_read_stays(worker_host: WorkerHost) -> None:
    machine = worker_host.machine()
    worker_host.settings.machine_dir(machine.id).mkdir()
    worker_host.settings.machine_facts(machine.id).write_bytes(b"{")
    machine_files.forget_job(worker_host.dom0(), machine.id, job_id="mine")
    assert worker_host.settings.machine_facts(machine.id).read_bytes() == b"{"

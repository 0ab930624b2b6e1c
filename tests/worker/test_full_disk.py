"""The disk that holds the journal is full: nothing new is begun, ends are kept, and a delete makes room."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.worker.bed import Bed
from tests.worker.preloaded import preloaded
from tests.worker.test_forged_journal import look
from tests.worker.test_killed import obey_and_die
from worker.contract import MachineSpec
from worker.job.context import Dom0
from worker.job.journal import Entry, Journal
from worker.job.reserve import STEP_BYTES, Reserve

MIB = 1 << 20


@pytest.fixture
def small_bed(tmp_path: Path) -> Iterator[Bed]:
    """A dom0 whose files lie on a file system of 96 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        pytest.skip("mounting needs root")
    argv = [mount, "-t", "tmpfs", "-o", "size=96m", "none", str(disk)]
    if subprocess.run(argv, capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine lets nobody mount")
    bed = Bed(disk)
    bed.listen()
    with preloaded():
        yield bed
    bed.close()
    subprocess.run(["umount", "-l", str(disk)], check=True)


def dom0_with_reserve(bed: Bed) -> Dom0:
    dom0 = bed.dom0()
    dom0.journal.reserve = Reserve(bed.settings.journal_dir, size_bytes=4 * MIB)
    dom0.journal.reserve.keep()
    return dom0


def fill(bed: Bed) -> Path:
    """Leave not a byte."""
    filler = bed.directory / "filler"
    with filler.open("ab", buffering=0) as out:
        for size in (MIB, 4096, 1):
            try:
                while True:
                    out.write(b"x" * size)
            except OSError:
                continue
    return filler


def made(bed: Bed, dom0: Dom0) -> MachineSpec:
    machine = bed.machine()
    assert bed.do(dom0, "create", machine).event == "SUCCEEDED"
    # that the end was told is noted a moment after it was: while there is room
    assert dom0.reporter.flush(timeout_seconds=10)
    return machine


class TestAFullDisk:
    def test_lets_a_machine_be_deleted_and_keeps_room_again_afterwards(self, small_bed: Bed) -> None:
        dom0 = dom0_with_reserve(small_bed)
        machine = made(small_bed, dom0)
        filler = fill(small_bed)
        assert small_bed.do(dom0, "delete", machine).event == "SUCCEEDED"
        assert not small_bed.disk(machine).exists()
        assert dom0.journal.reserve.bytes_left < 4 * MIB
        filler.unlink()
        look(dom0)
        assert dom0.journal.reserve.bytes_left == 4 * MIB

    @pytest.mark.parametrize("verb", ["create", "start", "reboot", "shutdown", "poweroff"])
    def test_begins_nothing_else(self, small_bed: Bed, verb: str) -> None:
        dom0 = dom0_with_reserve(small_bed)
        machine = small_bed.machine() if verb == "create" else made(small_bed, dom0)
        before = small_bed.domains()
        fill(small_bed)
        end = small_bed.do(dom0, verb, machine)
        assert (end.event, end.error_code) == ("FAILED", "JOURNAL_UNWRITABLE")
        assert small_bed.domains() == before
        assert dom0.journal.reserve.bytes_left == 4 * MIB

    def test_keeps_the_end_of_what_was_begun(self, small_bed: Bed) -> None:
        dom0 = dom0_with_reserve(small_bed)
        entry = Entry("job", "machine", state="ENDED")
        fill(small_bed)
        dom0.journal.write(entry)
        dom0.journal.ask_cancel("other")
        assert dom0.journal.read("job") == entry
        assert dom0.journal.is_cancel_asked("other")

    def test_does_not_say_that_a_begun_job_does_nothing(self, small_bed: Bed) -> None:
        dom0 = dom0_with_reserve(small_bed)
        machine = made(small_bed, dom0)
        order = small_bed.order("reboot", machine)
        obey_and_die(small_bed, order, "ACCEPT")
        filler = fill(small_bed)
        look(dom0)
        assert [report for report in small_bed.reports if report.job_id == order.job_id] == []
        filler.unlink()
        look(dom0)
        assert small_bed.end_of(order.job_id).event == "SUCCEEDED"


class TestReserve:
    def test_gives_a_little_at_a_time_until_there_is_none(self, tmp_path: Path) -> None:
        reserve = Reserve(tmp_path, size_bytes=3 * STEP_BYTES)
        reserve.keep()
        left = []

        def act() -> None:
            left.append(reserve.bytes_left)
            raise OSError(28, "No space left on device")

        with pytest.raises(OSError, match="No space"):
            reserve.write(act)
        assert left == [3 * STEP_BYTES, 2 * STEP_BYTES, STEP_BYTES, 0]

    def test_is_not_touched_for_another_error(self, tmp_path: Path) -> None:
        reserve = Reserve(tmp_path, size_bytes=STEP_BYTES)
        reserve.keep()
        with pytest.raises(PermissionError):
            reserve.write(lambda: (_ for _ in ()).throw(PermissionError(13, "no")))
        assert reserve.bytes_left == STEP_BYTES

    def test_takes_up_room_on_the_disk(self, tmp_path: Path) -> None:
        Reserve(tmp_path, size_bytes=2 * MIB).keep()
        assert (tmp_path / ".reserve").stat().st_blocks * 512 >= 2 * MIB

    def test_is_not_taken_for_an_entry(self, tmp_path: Path) -> None:
        journal = Journal(tmp_path, reserve=Reserve(tmp_path, size_bytes=MIB))
        journal.reserve.keep()
        assert journal.entries() == []

"""The disk that holds the journal is full: nothing new is begun, ends are kept, and a delete makes room."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.worker.preloaded import preloaded
from tests.worker.test_forged_journal import look
from tests.worker.test_killed import obey_and_die
from tests.worker.worker_host import WorkerHost
from worker.contract import MachineSpec
from worker.job.context import HostContext
from worker.job.journal import Entry, Journal
from worker.job.reserve import STEP_BYTES, Reserve

MIB = 1 << 20


@pytest.fixture
def small_worker_host(tmp_path: Path) -> Iterator[WorkerHost]:
    """A dom0 whose files lie on a file system of 96 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        pytest.skip("mounting needs root")
    argv = [mount, "-t", "tmpfs", "-o", "size=96m", "none", str(disk)]
    if subprocess.run(argv, capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine lets nobody mount")
    worker_host = WorkerHost(disk)
    worker_host.listen()
    with preloaded():
        yield worker_host
    worker_host.close()
    subprocess.run(["umount", "-l", str(disk)], check=True)


def dom0_with_reserve(worker_host: WorkerHost) -> HostContext:
    dom0 = worker_host.dom0()
    dom0.journal.reserve = Reserve(worker_host.settings.journal_dir, size_bytes=4 * MIB)
    dom0.journal.reserve.keep()
    return dom0


def fill(worker_host: WorkerHost) -> Path:
    """Leave not a byte."""
    filler = worker_host.directory / "filler"
    with filler.open("ab", buffering=0) as out:
        for size in (MIB, 4096, 1):
            try:
                while True:
                    out.write(b"x" * size)
            except OSError:
                continue
    return filler


def made(worker_host: WorkerHost, dom0: HostContext) -> MachineSpec:
    machine = worker_host.machine()
    assert worker_host.do(dom0, "create", machine).event == "SUCCEEDED"
    # that the end was told is noted a moment after it was: while there is room
    assert dom0.reporter.flush(timeout_seconds=10)
    return machine


class TestAFullDisk:
    def test_lets_a_machine_be_deleted_and_keeps_room_again_afterwards(
        self, small_worker_host: WorkerHost
    ) -> None:
        dom0 = dom0_with_reserve(small_worker_host)
        machine = made(small_worker_host, dom0)
        filler = fill(small_worker_host)
        assert small_worker_host.do(dom0, "delete", machine).event == "SUCCEEDED"
        assert not small_worker_host.disk(machine).exists()
        assert dom0.journal.reserve.bytes_left < 4 * MIB
        filler.unlink()
        look(dom0)
        assert dom0.journal.reserve.bytes_left == 4 * MIB

    @pytest.mark.parametrize("verb", ["create", "start", "reboot", "shutdown", "poweroff"])
    def test_begins_nothing_else(self, small_worker_host: WorkerHost, verb: str) -> None:
        dom0 = dom0_with_reserve(small_worker_host)
        machine = small_worker_host.machine() if verb == "create" else made(small_worker_host, dom0)
        before = small_worker_host.domains()
        fill(small_worker_host)
        end = small_worker_host.do(dom0, verb, machine)
        assert (end.event, end.error_code) == ("FAILED", "JOURNAL_UNWRITABLE")
        assert small_worker_host.domains() == before
        assert dom0.journal.reserve.bytes_left == 4 * MIB

    def test_begins_nothing_in_the_space_that_the_end_of_another_job_freed(
        self, small_worker_host: WorkerHost
    ) -> None:
        dom0 = dom0_with_reserve(small_worker_host)
        machine = small_worker_host.machine()
        filler = fill(small_worker_host)
        dom0.journal.write(Entry("job", "machine", state="ENDED"))
        left = dom0.journal.reserve.bytes_left
        assert left == 3 * MIB
        end = small_worker_host.do(dom0, "create", machine)
        assert (end.event, end.error_code) == ("FAILED", "JOURNAL_UNWRITABLE")
        assert dom0.journal.reserve.bytes_left == left
        assert not small_worker_host.settings.fence_file(machine.id).exists()
        filler.unlink()
        assert small_worker_host.do(dom0, "create", machine).event == "SUCCEEDED"

    def test_keeps_the_end_of_what_was_begun(self, small_worker_host: WorkerHost) -> None:
        dom0 = dom0_with_reserve(small_worker_host)
        entry = Entry("job", "machine", state="ENDED")
        fill(small_worker_host)
        dom0.journal.write(entry)
        dom0.journal.ask_cancel("other")
        assert dom0.journal.read("job") == entry
        assert dom0.journal.is_cancel_asked("other")

    def test_does_not_say_that_a_begun_job_does_nothing(self, small_worker_host: WorkerHost) -> None:
        dom0 = dom0_with_reserve(small_worker_host)
        machine = made(small_worker_host, dom0)
        order = small_worker_host.order("reboot", machine)
        obey_and_die(small_worker_host, order, "ACCEPT")
        filler = fill(small_worker_host)
        look(dom0)
        assert [report for report in small_worker_host.reports if report.job_id == order.job_id] == []
        filler.unlink()
        look(dom0)
        assert small_worker_host.end_of(order.job_id).event == "SUCCEEDED"


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

"""What a host forgets of machines that are gone, and what it does not touch."""

import os
import time
from pathlib import Path
from uuid import uuid4

import pytest

from tests.worker.worker_host import WorkerHost
from worker import files
from worker.agent import tidy
from worker.job.context import HostContext
from worker.job.journal import KEEP_SECONDS
from worker.xen.xl import XlError

OLD = time.time() - KEEP_SECONDS - 3600


class Host:
    """A dom0 with a folder of Xen's logs."""

    def __init__(self, worker_host: WorkerHost, directory: Path) -> None:
        self.logs = directory / "xen"
        (self.logs / "console").mkdir(parents=True)
        self.worker_host = worker_host
        self.dom0: HostContext = worker_host.dom0()
        object.__setattr__(self.dom0.settings, "xen_log_dir", self.logs)
        self.state = self.dom0.settings.state_dir

    def put(self, path: Path, *, at: float = OLD) -> Path:
        path.write_bytes(b"x")
        os.utime(path, (at, at))
        return path

    def gone(self, machine_id: str = "", *, at: float = OLD) -> str:
        """A machine that was here once: its fence, its receipt and its lock are left."""
        machine_id = machine_id or str(uuid4())
        for folder in ("fences", "receipts", "locks"):
            self.put(self.state / folder / machine_id, at=at)
        return machine_id

    def tidy(self) -> None:
        tidy.forget_old(self.dom0, now=time.time())


@pytest.fixture
def host(worker_host: WorkerHost, tmp_path: Path) -> Host:
    return Host(worker_host, tmp_path)


class TestMachinesThatAreGone:
    def test_lose_fence_receipt_lock_and_xens_logs(self, host: Host) -> None:
        machine = host.gone()
        domain = f"web1-{machine[:8]}"
        names = [f"xl-{domain}.log", f"xl-{domain}.log.1", f"xl-{domain}.log.2.gz", f"qemu-dm-{domain}.log"]
        paths = [host.put(host.logs / name) for name in names]
        paths += [host.put(host.logs / f"xl-{domain}--incoming.log")]
        paths += [host.put(host.logs / "console" / f"guest-{domain}.log")]
        host.tidy()
        assert [path for path in paths if path.exists()] == []
        assert not host.dom0.settings.fence_file(machine).exists()
        assert not host.dom0.settings.receipt_file(machine).exists()
        assert not host.dom0.settings.lock_file(machine).exists()

    def test_keep_fence_and_receipt_while_the_receipt_is_young(self, host: Host) -> None:
        machine = host.gone()
        host.put(host.dom0.settings.receipt_file(machine), at=time.time())
        host.tidy()
        assert host.dom0.settings.receipt_file(machine).exists()
        assert host.dom0.settings.fence_file(machine).exists()

    def test_lose_a_receipt_that_has_no_fence_any_more(self, host: Host) -> None:
        receipts = host.dom0.settings.receipt_file("x").parent
        old, young = host.put(receipts / str(uuid4())), host.put(receipts / str(uuid4()), at=time.time())
        partial = host.put(receipts / f".{uuid4()}.new")
        host.tidy()
        assert [path.exists() for path in (old, young, partial)] == [False, True, False]

    def test_keep_their_fence_as_long_as_any_order_could_come(self, host: Host) -> None:
        machine = host.gone(at=time.time() - KEEP_SECONDS + 3600)
        log = host.put(host.logs / f"xl-web1-{machine[:8]}.log")
        host.tidy()
        assert host.dom0.settings.fence_file(machine).exists()
        assert host.dom0.settings.receipt_file(machine).exists()
        assert log.exists()

    def test_keep_their_fence_while_a_log_is_young(self, host: Host) -> None:
        machine = host.gone()
        log = host.put(host.logs / f"xl-web1-{machine[:8]}.log", at=time.time())
        host.tidy()
        assert log.exists()
        assert host.dom0.settings.fence_file(machine).exists()

    def test_keep_a_lock_that_somebody_holds(self, host: Host) -> None:
        machine = host.gone()
        with files.locked(host.dom0.settings.lock_file(machine)):
            host.tidy()
        assert host.dom0.settings.lock_file(machine).exists()
        assert host.dom0.settings.fence_file(machine).exists()


class TestWhatIsHere:
    @pytest.mark.parametrize("trace", ["machines", "disks"])
    def test_stays_with_all_its_logs(self, host: Host, trace: str) -> None:
        machine = host.gone()
        (host.state / trace / machine).mkdir()
        (host.state / trace / machine / f"{uuid4()}.img").write_bytes(b"x")
        log = host.put(host.logs / f"xl-web1-{machine[:8]}.log")
        host.tidy()
        assert log.exists()
        assert host.dom0.settings.fence_file(machine).exists()
        assert host.dom0.settings.receipt_file(machine).exists()
        assert host.dom0.settings.lock_file(machine).exists()

    def test_stays_while_it_runs_although_its_files_are_gone(self, host: Host) -> None:
        machine = host.worker_host.machine()
        host.worker_host.do(host.dom0, "create", machine)
        os.utime(host.dom0.settings.fence_file(machine.id), (OLD, OLD))
        log = host.put(host.logs / f"xl-{machine.domain}.log")
        host.tidy()
        assert log.exists()
        assert host.dom0.settings.fence_file(machine.id).exists()

    @pytest.mark.parametrize(
        "name",
        [
            "xl-mail.log",
            "xl-mail-0badcafe.log",
            "xl-{part}.log",
            "{part}.log",
            "xl-a-{part}.log.bak",
        ],
    )
    def test_of_others_is_not_touched(self, host: Host, name: str) -> None:
        machine = host.gone()
        log = host.put(host.logs / name.format(part=machine[:8]))
        link = host.logs / f"xl-link-{machine[:8]}.log"
        link.symlink_to(log)
        host.tidy()
        assert log.exists()
        assert link.is_symlink()

    def test_of_two_machines_that_begin_alike_stays_while_one_is_here(self, host: Host) -> None:
        gone = host.gone()
        here = host.gone(gone[:8] + str(uuid4())[8:])
        (host.state / "machines" / here).mkdir()
        log = host.put(host.logs / f"xl-web1-{gone[:8]}.log")
        host.tidy()
        assert log.exists()

    def test_is_not_known_where_xl_does_not_answer_so_nothing_goes(self, host: Host) -> None:
        machine = host.gone()
        host.worker_host.stand_in.lay_out(list={"empty": True})
        with pytest.raises(XlError):
            host.tidy()
        assert host.dom0.settings.fence_file(machine).exists()


class TestFilesOfJobs:
    def test_that_nobody_knows_any_more_go_after_30_days(self, host: Host) -> None:
        job = str(uuid4())
        names = [
            f"journal/{job}.bad",
            f"journal/{job}.cancel",
            f"moves/{job}.source.json",
            f"moves/{job}.target.log",
        ]
        old = [host.put(host.state / name) for name in (*names, f"journal/.{job}.json.new")]
        young = [host.put(host.state / name.replace(job, str(uuid4())), at=time.time()) for name in names]
        host.tidy()
        assert [path for path in old if path.exists()] == []
        assert all(path.exists() for path in young)

    def test_that_the_journal_knows_stay(self, host: Host) -> None:
        machine = host.worker_host.machine()
        order = host.worker_host.order("create", machine)
        host.worker_host.obey(host.dom0, order)
        kept = [
            host.put(host.state / name)
            for name in (f"moves/{order.job_id}.source.log", f"journal/{order.job_id}.cancel")
        ]
        host.tidy()
        assert all(path.exists() for path in kept)


class TestLock:
    def test_that_was_removed_while_one_waited_is_taken_anew(self, tmp_path: Path) -> None:
        path = tmp_path / "lock"
        with files.locked(path):
            path.unlink()
            with files.locked(path), pytest.raises(files.LockHeld), files.locked(path):
                pass

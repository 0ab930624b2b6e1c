"""Disks that several hosts see: who may open them, in the words of two hosts on one directory."""

import dataclasses
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.worker.positions import Range
from tests.worker.worker_host import WorkerHost
from worker import storage
from worker.agent import executor
from worker.cli.join import main
from worker.contract import DiskSpec, MachineSpec, Report
from worker.errors import LeaseHeld, LeaseUnreadable, PoolMisconfigured
from worker.guest import leases
from worker.job.journal import Entry
from worker.settings import SettingsError, read
from worker.storage import lease
from worker.storage.lease import Lease
from worker.storage.lease_store import FileLeases
from worker.storage.shared_file import SharedFilePool, is_stale_mount

MACHINE = "11111111-2222-3333-4444-555555555555"
HELD = Lease(MACHINE, "xen1", 7, at=1_700_000_000)


class TestWhoMayTakeIt:
    @pytest.mark.parametrize(
        ("known", "host", "fence", "takes_over_from", "may"),
        [
            (None, "xen2", 1, "", True),
            (HELD, "xen1", 7, "", True),
            (HELD, "xen1", 8, "", True),
            (HELD, "xen1", 6, "", False),
            # a newer order alone makes nobody the owner
            (HELD, "xen2", 99, "", False),
            (dataclasses.replace(HELD, is_released=True), "xen2", 7, "", True),
            (dataclasses.replace(HELD, is_released=True), "xen2", 6, "", False),
            (dataclasses.replace(HELD, heir="xen2"), "xen2", 7, "", True),
            (dataclasses.replace(HELD, heir="xen2"), "xen3", 8, "", False),
            (HELD, "xen2", 8, "xen1", True),
            # the one that was proven off is not the owner
            (HELD, "xen2", 8, "xen3", False),
            (HELD, "xen2", 7, "xen1", False),
        ],
    )
    def test_by_the_table(
        self, known: Lease | None, host: str, fence: int, takes_over_from: str, may: bool
    ) -> None:
        why = lease.why_not(known, host=host, fence=fence, takes_over_from=takes_over_from)
        assert (why == "") is may
        assert may or "xen1 holds them with fence 7 since 2023-11-14 22:13:20 UTC" in why


class TestRecord:
    def test_is_read_as_it_was_written(self) -> None:
        assert lease.from_bytes(lease.to_bytes(HELD)) == HELD

    def test_fits_into_what_a_disk_writes_whole(self) -> None:
        longest = Lease(MACHINE, "h" * 63, 1 << 62, heir="x" * 63, is_released=True, at=1 << 40)
        assert len(lease.to_bytes(longest)) == lease.RECORD_BYTES
        assert lease.from_bytes(lease.to_bytes(longest)) == longest

    def test_was_never_written(self) -> None:
        assert lease.from_bytes(bytes(512)) is None

    @pytest.mark.parametrize("kept", [1, 8, 40, 120])
    def test_cut_short_is_no_lease_and_not_none(self, kept: int) -> None:
        with pytest.raises(LeaseUnreadable):
            lease.from_bytes(lease.to_bytes(HELD)[:kept].ljust(512, b"\0"))

    @pytest.mark.parametrize("values", [{}, {**dataclasses.asdict(HELD), "fence": "7"}])
    def test_of_another_shape_is_refused(self, values: dict[str, Any]) -> None:
        with pytest.raises(LeaseUnreadable):
            lease.from_bytes(lease.pack(values))


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[WorkerHost, WorkerHost]]:
    """Two dom0s that see one directory as the pool "nas"."""
    pool = tmp_path / "nas"
    pool.mkdir()
    beds = []
    for name in ("xen1", "xen2"):
        (tmp_path / name).mkdir()
        worker_host = WorkerHost(tmp_path / name, name=name)
        worker_host.settings = dataclasses.replace(worker_host.settings, file_pools={"nas": pool})
        worker_host.listen()
        beds.append(worker_host)
    SharedFilePool(pool, name="nas", host="xen1").share()
    yield beds[0], beds[1]
    for worker_host in beds:
        worker_host.close()


def on_nas(worker_host: WorkerHost) -> MachineSpec:
    return worker_host.machine(disks=(DiskSpec("root", "nas", 16, "xvda"),))


def do(worker_host: WorkerHost, verb: str, machine: MachineSpec, fence: int, **values: Any) -> Report:
    return worker_host.do(worker_host.dom0(), verb, machine, fence=fence, **values)


class TestTwoHosts:
    def test_a_machine_runs_where_its_lease_is_and_moves_with_it(
        self, two: tuple[WorkerHost, WorkerHost]
    ) -> None:
        one, other = two
        other.template()
        machine = on_nas(one)
        assert do(one, "create", machine, 1).event == "SUCCEEDED"
        assert do(one, "poweroff", machine, 2).event == "SUCCEEDED"

        refused = do(other, "start", machine, 3)
        assert (refused.error_code, refused.is_retryable) == ("LEASE_HELD", False)
        assert "xen1 holds them with fence 1 since" in refused.error_message
        assert other.domains() == []

        leases.release(one.dom0(), machine, fence=4)
        leases.let_go(one.dom0(), machine)
        assert do(other, "start", machine, 4).event == "SUCCEEDED"
        assert other.domains() == [machine.id]

        # whatever the first host is told now, and with whatever number
        for verb in ("start", "delete"):
            assert do(one, verb, machine, 9).error_code == "LEASE_HELD"
        assert one.domains() == []
        assert [found.owner for found in leases.look(other.dom0(), machine)] == ["xen2"]
        assert do(other, "delete", machine, 10).event == "SUCCEEDED"
        nas = other.settings.file_pools["nas"]
        assert [path.name for path in nas.iterdir()] == [".webxen-pool"]

    def test_a_host_that_comes_back_in_the_middle_of_a_start_undoes_it(
        self, two: tuple[WorkerHost, WorkerHost]
    ) -> None:
        one, other = two
        other.template()
        machine = on_nas(one)
        assert do(one, "create", machine, 1).event == "SUCCEEDED"
        do(one, "poweroff", machine, 2)
        order = one.order("start", machine, fence=3)
        end = one.obey(one.dom0(), order)
        assert end.event == "SUCCEEDED"
        # It went silent after `xl create`; somebody proved that it is off, and the machine went elsewhere.
        entry = Entry(order.job_id, machine.id, one.envelope(order), marks={"domain": "made"})
        one.dom0().journal.write(entry)
        (one.settings.journal_dir / f"{order.job_id}.told").unlink()
        taken = do(other, "start", machine, 4, takes_over_from="xen1")
        assert taken.event == "SUCCEEDED"
        assert one.domains() == [machine.id]

        one.reports.clear()
        executor.resume(one.dom0(), order.job_id)
        assert one.end_of(order.job_id).error_code == "LEASE_HELD"
        assert one.domains() == []
        assert other.domains() == [machine.id]

    def test_nobody_takes_over_from_a_host_that_is_not_the_owner(
        self, two: tuple[WorkerHost, WorkerHost]
    ) -> None:
        one, other = two
        machine = on_nas(one)
        assert do(one, "create", machine, 1).event == "SUCCEEDED"
        refused = do(other, "start", machine, 5, takes_over_from="xen3")
        assert refused.error_code == "LEASE_HELD"

    def test_a_running_machine_here_that_is_another_hosts_is_no_success(
        self, two: tuple[WorkerHost, WorkerHost]
    ) -> None:
        one, other = two
        machine = on_nas(one)
        do(one, "create", machine, 1)
        leases.take(other.dom0(), machine, fence=2, takes_over_from="xen1")
        for verb in ("start", "reboot"):
            assert do(one, verb, machine, 3).error_code == "LEASE_HELD"
        # It is evidence now: nothing pulls its plug unasked.
        assert one.domains() == [machine.id]

    def test_an_offer_is_for_one_host_and_can_be_withdrawn_until_it_is_taken(
        self, two: tuple[WorkerHost, WorkerHost]
    ) -> None:
        one, other = two
        machine = on_nas(one)
        do(one, "create", machine, 1)
        leases.offer(one.dom0(), machine, fence=2, heir="xen2")
        leases.check(one.dom0(), machine)
        leases.withdraw(one.dom0(), machine)
        with pytest.raises(LeaseHeld):
            leases.take(other.dom0(), machine, fence=2)
        leases.offer(one.dom0(), machine, fence=3, heir="xen2")
        leases.take(other.dom0(), machine, fence=3)
        with pytest.raises(LeaseHeld, match="xen2 holds them with fence 3"):
            leases.withdraw(one.dom0(), machine)
        with pytest.raises(LeaseHeld):
            leases.check(one.dom0(), machine)

    def test_each_shows_the_volumes_it_holds(self, two: tuple[WorkerHost, WorkerHost]) -> None:
        one, other = two
        machine = on_nas(one)
        do(one, "create", machine, 1)
        pools = [storage.Pools(worker_host.settings).find("nas") for worker_host in two]
        assert [len(pool.volumes()) for pool in pools] == [1, 0]
        leases.take(other.dom0(), machine, fence=2, takes_over_from="xen1")
        assert [len(pool.volumes()) for pool in pools] == [0, 1]
        # nobody's is everybody's business
        for book in (pools[0].leases,):
            assert book is not None
            book.drop(machine.id)
        assert [len(pool.volumes()) for pool in pools] == [1, 1]

    def test_both_tell_the_same_id_and_it_is_not_the_local_ones(
        self, two: tuple[WorkerHost, WorkerHost]
    ) -> None:
        seen = [storage.Pools(worker_host.settings).find("nas").probe() for worker_host in two]
        own = [storage.Pools(worker_host.settings).find("local").probe() for worker_host in two]
        assert seen[0].id == seen[1].id != ""
        assert [pool.is_shared for pool in (*seen, *own)] == [True, True, False, False]
        assert len({pool.id for pool in (*seen, *own)}) == 3

    def test_a_failed_create_leaves_no_lease(self, two: tuple[WorkerHost, WorkerHost]) -> None:
        one, _ = two
        machine = dataclasses.replace(on_nas(one), memory_mib=1 << 20)
        assert do(one, "create", machine, 1).event == "FAILED"
        assert leases.look(one.dom0(), machine) == ()
        assert [path.name for path in one.settings.file_pools["nas"].iterdir()] == [".webxen-pool"]

    def test_a_lease_nobody_can_read_lets_nothing_happen(self, two: tuple[WorkerHost, WorkerHost]) -> None:
        one, _ = two
        machine = on_nas(one)
        do(one, "create", machine, 1)
        do(one, "poweroff", machine, 2)
        (one.settings.file_pools["nas"] / machine.id / "lease").write_bytes(b"gibberish")
        for verb in ("start", "delete"):
            end = do(one, verb, machine, 3)
            assert (end.error_code, end.is_retryable) == ("LEASE_UNREADABLE", True)
        assert one.domains() == []
        assert (one.settings.file_pools["nas"] / machine.id / "root.img").exists()


class TestTheDirectory:
    def test_one_that_is_not_mounted_is_no_pool(
        self, two: tuple[WorkerHost, WorkerHost], tmp_path: Path
    ) -> None:
        one, _ = two
        empty = tmp_path / "mountpoint"
        empty.mkdir()
        one.settings = dataclasses.replace(one.settings, file_pools={"nas": empty})
        with pytest.raises(PoolMisconfigured, match="is not mounted"):
            storage.Pools(one.settings).find("nas").probe()
        end = do(one, "create", on_nas(one), 1)
        assert end.error_code == "POOL_MISCONFIGURED"
        assert list(empty.iterdir()) == []

    def test_two_that_share_it_at_once_give_it_one_id(self, tmp_path: Path) -> None:
        pools = [SharedFilePool(tmp_path, name="nas", host=f"xen{number}") for number in (1, 2)]
        for pool in pools:
            pool.share()
        assert pools[0].identity() == pools[1].identity()
        assert [path.name for path in tmp_path.iterdir()] == [".webxen-pool"]

    @pytest.mark.parametrize(
        ("kind", "options", "is_stale"),
        [
            ("nfs4", "rw,vers=4.2,hard", True),
            ("nfs4", "rw,vers=4.2,hard,lookupcache=none", False),
            ("nfs", "rw,lookupcache=pos", True),
            ("ext4", "rw", False),
        ],
    )
    def test_nfs_that_remembers_names_is_refused(self, kind: str, options: str, is_stale: bool) -> None:
        text = (
            "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw\n"
            f"30 22 0:40 / /srv/my\\040pool rw,relatime shared:9 - {kind} nas:/pool {options}\n"
            "31 22 0:41 / /srv/my rw - nfs nas:/other rw\n"
        )
        assert is_stale_mount(text, Path("/srv/my pool/machines")) is is_stale


def test_leases_of_machines_that_are_gone_are_not_invented(two: tuple[WorkerHost, WorkerHost]) -> None:
    one, _ = two
    machine = dataclasses.replace(on_nas(one), id=str(uuid.uuid4()))
    assert leases.look(one.dom0(), machine) == ()
    assert do(one, "start", machine, 1).error_code == "MACHINE_MISSING"
    assert leases.look(one.dom0(), machine) == ()


class SharedBed(WorkerHost):
    """A dom0 whose machines lie where other hosts could see them."""

    def disk(self, machine: MachineSpec, disk_id: str = "root") -> Path:
        return self.settings.file_pools["nas"] / machine.id / f"{disk_id}.img"

    def files_of(self, machine: MachineSpec) -> list[str]:
        there = self.settings.file_pools["nas"].glob(f"{machine.id}/*")
        return [*super().files_of(machine), *(path.name for path in there)]


def test_a_worker_killed_beside_a_lease_leaves_none_behind(tmp_path: Path) -> None:
    worker_host = SharedBed(tmp_path)
    pool = tmp_path / "nas"
    pool.mkdir()
    worker_host.settings = dataclasses.replace(worker_host.settings, file_pools={"nas": pool})
    SharedFilePool(pool, name="nas", host="xen1").share()
    worker_host.listen()
    try:
        ground = Range(worker_host, pool="nas")
        trials = []
        for verb in ("create", "delete"):
            named = [(number, name) for number, name in enumerate(ground.names(verb), 1) if "lease" in name]
            assert named
            trials += [ground.kill(verb, *point) for point in named]
        assert [(trial.name, trial.wrong) for trial in trials if trial.wrong] == []
        assert {(trial.end.event, trial.is_reached) for trial in trials} == {("SUCCEEDED", True)}
        trial = ground.kill_undo("create", after="SEED is done", at="a lease is gone")
        assert (trial.is_reached, trial.end.event, trial.wrong) == (True, "CANCELLED", ())
    finally:
        worker_host.close()


class TestCommands:
    @pytest.fixture
    def etc(self, tmp_path: Path) -> Path:
        (tmp_path / "nas").mkdir()
        (tmp_path / "etc").mkdir()
        (tmp_path / "etc/worker.env").write_text(
            f"WEBXEN_HOST=xen1\nWEBXEN_STATE_DIR={tmp_path}/state\nWEBXEN_FILE_POOLS=nas={tmp_path}/nas\n"
        )
        return tmp_path / "etc"

    def test_staff_shares_a_pool_and_looks_at_its_leases(
        self, etc: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["--etc", str(etc), "leases", "nas"]) == 0
        assert main(["--etc", str(etc), "share-pool", "nas"]) == 0
        assert "is shared" in capsys.readouterr().out
        FileLeases(tmp_path / "nas", host="xen1").write(HELD)
        assert main(["--etc", str(etc), "leases", "nas"]) == 0
        assert capsys.readouterr().out.startswith(f"{MACHINE}  xen1 holds them with fence 7")

    @pytest.mark.parametrize(
        ("words", "why"),
        [
            (["share-pool", "san"], "in neither WEBXEN_LVM_POOLS nor WEBXEN_FILE_POOLS"),
            (["release-lock", "nas", "xen2", "yes"], 'say "xen2 is off"'),
        ],
    )
    def test_what_cannot_be_is_refused_in_words(
        self, etc: Path, words: list[str], why: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["--etc", str(etc), *words]) == 1
        assert why in capsys.readouterr().err

    @pytest.mark.parametrize(
        "env",
        [
            {"WEBXEN_FILE_POOLS": "nas"},
            {"WEBXEN_FILE_POOLS": "nas=srv"},
            {"WEBXEN_FILE_POOLS": "local=/srv"},
            {"WEBXEN_FILE_POOLS": "a=/x,a=/y"},
            {"WEBXEN_LVM_POOLS": "a", "WEBXEN_FILE_POOLS": "a=/x"},
            {"WEBXEN_HOST_NUMBER": "64"},
            {"WEBXEN_HOST_NUMBER": "one"},
        ],
    )
    def test_settings_that_make_no_sense_stop_the_start(self, env: dict[str, str]) -> None:
        with pytest.raises(SettingsError):
            read({"WEBXEN_HOST": "xen1", **env}, needs_broker=False)

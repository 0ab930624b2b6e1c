"""What a host says it holds: volumes, drafts, fences and open jobs, never more than an envelope takes."""

import dataclasses
import os

import pytest

from tests.worker.worker_host import WorkerHost, changed
from worker.contract import (
    MAX_ENVELOPE_BYTES,
    MAX_RECEIPT,
    AddressSeen,
    FenceSeen,
    Holdings,
    JobSeen,
    Observation,
    VolumeSeen,
    seal,
)
from worker.job.journal import write_fence
from worker.observe import contents, observer
from worker.observe.contents import HostContents
from worker.storage.lvm import parse_rows, volume_of

MACHINE = "1b4e28ba-2fa1-4d2b-883f-0016d3cca427"


class TestHostContents:
    def test_shows_what_a_machine_left_on_the_host(self, worker_host: WorkerHost) -> None:
        dom0, machine = worker_host.dom0(), worker_host.machine()
        assert HostContents(worker_host.settings).look() == Holdings(pools=("local",))
        assert worker_host.do(dom0, "create", machine).event == "SUCCEEDED"
        assert HostContents(worker_host.settings).look() == Holdings(
            volumes=(VolumeSeen(machine.id, "root", "local", 16),),
            pools=("local",),
            machines=(machine.id,),
            fences=(FenceSeen(machine.id, 1),),
            addresses=(AddressSeen(machine.id, "xenbr0", "10.0.2.101"),),
        )
        assert worker_host.do(dom0, "delete", machine).event == "SUCCEEDED"
        assert HostContents(worker_host.settings).look() == Holdings(
            pools=("local",), fences=(FenceSeen(machine.id, 2),)
        )

    def test_keeps_the_newest_receipt_of_a_machine_even_after_its_end(self, worker_host: WorkerHost) -> None:
        dom0, machine, contents = (
            worker_host.dom0(),
            worker_host.machine(),
            HostContents(worker_host.settings),
        )
        worker_host.do(dom0, "create", changed(machine, receipt="Zmlyc3Q="))
        assert contents.look().receipts == ("Zmlyc3Q=",)
        worker_host.do(dom0, "shutdown", changed(machine, receipt=""))
        assert contents.look().receipts == ("Zmlyc3Q=",)
        worker_host.do(dom0, "delete", changed(machine, receipt="c2Vjb25k"))
        assert contents.look().receipts == ("c2Vjb25k",)
        assert worker_host.files_of(machine) == [f"receipts/{machine.id}"]

    @pytest.mark.parametrize("receipt", ["../../x", "a b", "\n", "A" * (MAX_RECEIPT + 1), "\u0100"])
    def test_a_receipt_that_is_none_is_refused_with_its_order(
        self, worker_host: WorkerHost, receipt: str
    ) -> None:
        machine = changed(worker_host.machine(), receipt=receipt)
        assert worker_host.do(worker_host.dom0(), "create", machine).error_code == "ORDER_REFUSED"
        assert HostContents(worker_host.settings).look() == Holdings(pools=("local",))

    def test_tells_the_newest_receipts_each_time_and_the_others_in_turn(
        self, worker_host: WorkerHost
    ) -> None:
        contents = HostContents(worker_host.settings)
        for number in range(15):
            path = worker_host.settings.receipt_file(f"{number:08d}")
            path.write_text(str(number))
            os.utime(path, ns=(number, number))
        looks = [contents.look().receipts for _ in range(3)]
        assert {look[:4] for look in looks} == {("14", "13", "12", "11")}
        assert {text for look in looks for text in look} == {str(number) for number in range(15)}
        assert max(map(len, looks)) == 8

    def test_a_configuration_that_cannot_be_read_tells_no_address(self, worker_host: WorkerHost) -> None:
        path = worker_host.settings.machine_config(MACHINE)
        path.parent.mkdir()
        path.write_text("vif = [ 'mac=00:16:3e:00:00:01,bridge=xenbr0,ip=10.0.2.9' ]")
        assert HostContents(worker_host.settings).look().addresses == (
            AddressSeen(MACHINE, "xenbr0", "10.0.2.9"),
        )
        path.write_text("vif = ][")
        assert HostContents(worker_host.settings).look().addresses == ()

    def test_tells_a_draft_from_a_disk(self, worker_host: WorkerHost) -> None:
        disks = worker_host.settings.disks_dir / MACHINE
        disks.mkdir()
        (disks / "a.draft").write_bytes(b"")
        (disks / "notes.txt").write_bytes(b"")
        assert HostContents(worker_host.settings).look().volumes == (
            VolumeSeen(MACHINE, "a", "local", 0, is_draft=True),
        )

    def test_names_jobs_that_have_not_ended(self, worker_host: WorkerHost) -> None:
        contents, journal = HostContents(worker_host.settings), worker_host.settings.journal_dir
        (journal / "j1.json").write_text('{"state": "RUNNING", "machine_id": "m1"}')
        (journal / "j2.json").write_text('{"state": "ENDED", "machine_id": "m2"}')
        (journal / "j3.json").write_text("half a fi")
        (journal / "j4.told").touch()
        assert contents.look().jobs == (JobSeen("j1", "m1"),)

    def test_reads_a_file_again_only_when_it_changed(self, worker_host: WorkerHost) -> None:
        contents, fence = HostContents(worker_host.settings), worker_host.settings.fence_file(MACHINE)
        write_fence(fence, 3)
        assert contents.look().fences == (FenceSeen(MACHINE, 3),)
        facts = fence.stat()
        fence.write_text("9")
        os.utime(fence, ns=(facts.st_atime_ns, facts.st_mtime_ns))
        assert contents.look().fences == (FenceSeen(MACHINE, 3),)
        write_fence(fence, 9)
        assert contents.look().fences == (FenceSeen(MACHINE, 9),)

    def test_a_pool_that_cannot_be_listed_is_left_out(self, worker_host: WorkerHost) -> None:
        config = dataclasses.replace(worker_host.settings, lvm_pools=("no-such-group",))
        assert HostContents(config).look().pools == ("local",)

    def test_more_disks_than_fit_are_cut_and_that_is_said(self, worker_host: WorkerHost) -> None:
        for number in range(contents.MAX_VOLUMES + 1):
            directory = worker_host.settings.disks_dir / f"{number:08d}-2fa1-4d2b-883f-0016d3cca427"
            directory.mkdir()
            (directory / f"{number:08d}-0000-4000-8000-000000000000.img").touch()
        seen = observer.gather(worker_host.settings, worker_host.dom0().xl)
        assert seen.holdings is not None
        assert seen.holdings.is_cut
        assert len(seen.holdings.volumes) == contents.MAX_VOLUMES
        assert len(sealed(seen)) < MAX_ENVELOPE_BYTES / 2

    def test_all_limits_together_fit(self) -> None:
        volume = VolumeSeen("m" * 36, "d" * 36, "p" * 32, 1 << 30, is_draft=True)
        full = Holdings(
            volumes=(volume,) * contents.MAX_VOLUMES,
            pools=("p" * 32,),
            machines=("m" * 36,) * contents.MAX_MACHINES,
            fences=(FenceSeen("m" * 36, 1 << 40),) * contents.MAX_FENCES,
            jobs=(JobSeen("j" * 36, "m" * 36),) * contents.MAX_JOBS,
            is_cut=True,
            addresses=(AddressSeen("m" * 36, "b" * 15, "100.100.100.100"),) * contents.MAX_ADDRESSES,
            receipts=("r" * 1600,) * (contents.NEWEST_RECEIPTS + contents.OTHER_RECEIPTS),
        )
        ids = ("m" * 36,) * contents.MAX_MACHINES
        seen = Observation("xen1", {}, (), (), (), machine_ids=ids, holdings=full)
        assert len(sealed(seen)) < 900 << 10


def sealed(seen: Observation) -> str:
    return seal(seen, host="xen1", sign=lambda _: b"s" * 64, not_after=1 << 40)


class TestLvs:
    TEXT = (
        f"  webxen-{MACHINE}-root|10240.00|webxen-machine-{MACHINE}|active\n"
        f"  webxen-{MACHINE}-data-draft|512.00|other,webxen-machine-{MACHINE}|\n"
        "  swap|2048.00||active\n"
        f"  webxen-{MACHINE}-x|4.00|webxen-machine-somebody-else|\n"
        "\n"
    )

    def test_shows_ours_and_no_other(self) -> None:
        rows = parse_rows(self.TEXT)
        assert [seen for row in rows if (seen := volume_of(row, pool="vg0"))] == [
            VolumeSeen(MACHINE, "root", "vg0", 10240),
            VolumeSeen(MACHINE, "data", "vg0", 512, is_draft=True),
        ]
        assert [row.is_active for row in rows] == [True, False, True, False]

    @pytest.mark.parametrize("text", ["", "\n", "  |||\n", "  a\n"])
    def test_nothing_is_nothing(self, text: str) -> None:
        assert [volume_of(row, pool="vg0") for row in parse_rows(text) if volume_of(row, pool="vg0")] == []

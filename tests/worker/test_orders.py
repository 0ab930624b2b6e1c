"""What is obeyed, what is dropped, and what happens when an order is heard twice or too late."""

import threading
import time

import pytest

from tests.worker.bed import Bed, changed
from tests.worker.console_bench import wait_for
from worker.agent import executor
from worker.agent.recovery import Reconciler
from worker.contract import Observation, Report
from worker.identity import keys
from worker.job.journal import Entry, Journal


class TestObey:
    def test_only_the_portals_signature_counts(self, bed: Bed, caplog: pytest.LogCaptureFixture) -> None:
        dom0, order = bed.dom0(), bed.order("create", bed.machine())
        stranger, _ = keys.generate()
        now = int(time.time())
        for envelope in (
            bed.envelope(order, key=stranger),
            bed.envelope(order, host="xen2"),
            bed.envelope(order, not_after=now - 1),
            bed.envelope(order).replace("CREATE", "DELETE"),
            bed.envelope(Report(order.job_id, "m", "STARTED")),
            bed.envelope(Observation("xen1", {}, (), (), None)),
            "not json",
            None,
            5,
            {"signed": "x"},
        ):
            caplog.clear()
            executor.obey(dom0, envelope, now=now)
            assert len(caplog.records) == 1, envelope
            assert caplog.records[0].message.startswith("dropped")
        assert dom0.reporter.flush(timeout_seconds=5)
        assert bed.reports == []
        assert list(bed.settings.journal_dir.iterdir()) == []

    def test_the_same_order_again_is_answered_and_not_done_again(self, bed: Bed) -> None:
        dom0 = bed.dom0()
        order = bed.order("create", bed.machine())
        envelope, now = bed.envelope(order), int(time.time())
        executor.obey(dom0, envelope, now=now)
        first = bed.end_of(order.job_id)
        executor.obey(dom0, envelope, now=now)
        wait_for(lambda: [r for r in bed.reports if r.event == "SUCCEEDED"][1:], "a second end report")
        assert bed.end_of(order.job_id) == first
        assert len(bed.stand_in.runs()) == 1

    def test_the_same_order_while_it_is_done_is_left_to_whoever_does_it(self, bed: Bed) -> None:
        dom0 = bed.dom0()
        order = bed.order("create", bed.machine())
        envelope, now = bed.envelope(order), int(time.time())
        threads = [
            threading.Thread(target=executor.obey, args=(dom0, envelope), kwargs={"now": now})
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert bed.end_of(order.job_id).event == "SUCCEEDED"
        assert len(bed.stand_in.runs()) == 1

    def test_an_order_that_comes_too_late_is_fenced_off(self, bed: Bed) -> None:
        dom0, machine = bed.dom0(), bed.machine()
        late = bed.order("start", machine)
        bed.do(dom0, "create", machine)
        bed.do(dom0, "delete", machine)
        end = bed.obey(dom0, late)
        assert (end.event, end.error_code, end.is_retryable) == ("FAILED", "FENCED", False)
        assert bed.domains() == []

    def test_a_job_id_that_is_a_path_writes_nothing(self, bed: Bed) -> None:
        order = bed.order("delete", bed.machine(), job_id="../../x")
        end = bed.obey(bed.dom0(), order)
        assert end.error_code == "ORDER_REFUSED"
        assert not list(bed.state.parent.rglob("x.json"))

    def test_a_job_of_another_machine_is_not_mixed_up(self, bed: Bed) -> None:
        dom0, first, second = bed.dom0(), bed.machine(), bed.machine()
        order = bed.order("create", first)
        bed.obey(dom0, order)
        count = len(bed.reports)
        executor.obey(dom0, bed.envelope(changed(order, machine=second)), now=int(time.time()))
        assert dom0.reporter.flush(timeout_seconds=5)
        assert len(bed.reports) == count
        assert bed.domains() == [first.id]


class TestJournal:
    def test_garbage_is_set_aside_and_the_others_go_on(self, bed: Bed) -> None:
        journal = Journal(bed.settings.journal_dir)
        (journal.directory / "a.json").write_bytes(b"")
        (journal.directory / "b.json").write_bytes(b"\xff{{{")
        (journal.directory / "c.json").write_text('{"job_id": "c"}')
        journal.write(Entry("d", "machine"))
        assert [entry.job_id for entry in journal.entries()] == ["d"]
        assert sorted(path.name for path in journal.directory.glob("*.bad")) == ["a.bad", "b.bad", "c.bad"]

    def test_nothing_is_begun_that_cannot_be_written_down(self, bed: Bed) -> None:
        dom0, machine = bed.dom0(), bed.machine()
        bed.settings.journal_dir.rmdir()
        end = bed.do(dom0, "create", machine)
        assert (end.event, end.error_code, end.is_retryable) == ("FAILED", "JOURNAL_UNWRITABLE", True)
        assert bed.domains() == []
        assert bed.files_of(machine) == []

    def test_an_end_report_is_sent_again_until_it_is_taken(self, bed: Bed) -> None:
        dom0 = bed.dom0()
        bed.is_portal_away = True
        order = bed.order("create", bed.machine())
        executor.obey(dom0, bed.envelope(order), now=int(time.time()))
        assert dom0.reporter.flush(timeout_seconds=5)
        assert bed.reports == []
        bed.is_portal_away = False
        reconciler = Reconciler(dom0)
        reconciler.look()
        assert bed.end_of(order.job_id).event == "SUCCEEDED"
        assert dom0.reporter.flush(timeout_seconds=5)
        count = len(bed.reports)
        reconciler.look()
        assert dom0.reporter.flush(timeout_seconds=5)
        assert len(bed.reports) == count

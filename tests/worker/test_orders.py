"""What is obeyed, what is dropped, and what happens when an order is heard twice or too late."""

import threading
import time

import pytest

from tests.worker.console_bench import wait_for
from tests.worker.worker_host import WorkerHost, changed
from worker.agent import executor
from worker.agent.recovery import Reconciler
from worker.contract import Observation, Report
from worker.identity import keys
from worker.job.journal import Entry, Journal


class TestObey:
    def test_only_the_portals_signature_counts(
        self, worker_host: WorkerHost, caplog: pytest.LogCaptureFixture
    ) -> None:
        dom0, order = worker_host.dom0(), worker_host.order("create", worker_host.machine())
        stranger, _ = keys.generate()
        now = int(time.time())
        for envelope in (
            worker_host.envelope(order, key=stranger),
            worker_host.envelope(order, host="xen2"),
            worker_host.envelope(order, not_after=now - 1),
            worker_host.envelope(order).replace("CREATE", "DELETE"),
            worker_host.envelope(Report(order.job_id, "m", "STARTED")),
            worker_host.envelope(Observation("xen1", {}, (), (), None)),
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
        assert worker_host.reports == []
        assert list(worker_host.settings.journal_dir.iterdir()) == []

    def test_the_same_order_again_is_answered_and_not_done_again(self, worker_host: WorkerHost) -> None:
        dom0 = worker_host.dom0()
        order = worker_host.order("create", worker_host.machine())
        envelope, now = worker_host.envelope(order), int(time.time())
        executor.obey(dom0, envelope, now=now)
        first = worker_host.end_of(order.job_id)
        executor.obey(dom0, envelope, now=now)
        wait_for(
            lambda: [r for r in worker_host.reports if r.event == "SUCCEEDED"][1:], "a second end report"
        )
        assert worker_host.end_of(order.job_id) == first
        assert len(worker_host.stand_in.runs()) == 1

    def test_the_same_order_while_it_is_done_is_left_to_whoever_does_it(
        self, worker_host: WorkerHost
    ) -> None:
        dom0 = worker_host.dom0()
        order = worker_host.order("create", worker_host.machine())
        envelope, now = worker_host.envelope(order), int(time.time())
        threads = [
            threading.Thread(target=executor.obey, args=(dom0, envelope), kwargs={"now": now})
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert worker_host.end_of(order.job_id).event == "SUCCEEDED"
        assert len(worker_host.stand_in.runs()) == 1

    def test_an_order_that_comes_too_late_is_fenced_off(self, worker_host: WorkerHost) -> None:
        dom0, machine = worker_host.dom0(), worker_host.machine()
        late = worker_host.order("start", machine)
        worker_host.do(dom0, "create", machine)
        worker_host.do(dom0, "delete", machine)
        end = worker_host.obey(dom0, late)
        assert (end.event, end.error_code, end.is_retryable) == ("FAILED", "FENCED", False)
        assert worker_host.domains() == []

    def test_a_job_id_that_is_a_path_writes_nothing(self, worker_host: WorkerHost) -> None:
        order = worker_host.order("delete", worker_host.machine(), job_id="../../x")
        end = worker_host.obey(worker_host.dom0(), order)
        assert end.error_code == "ORDER_REFUSED"
        assert not list(worker_host.state.parent.rglob("x.json"))

    def test_a_job_of_another_machine_is_not_mixed_up(self, worker_host: WorkerHost) -> None:
        dom0, first, second = worker_host.dom0(), worker_host.machine(), worker_host.machine()
        order = worker_host.order("create", first)
        worker_host.obey(dom0, order)
        count = len(worker_host.reports)
        executor.obey(dom0, worker_host.envelope(changed(order, machine=second)), now=int(time.time()))
        assert dom0.reporter.flush(timeout_seconds=5)
        assert len(worker_host.reports) == count
        assert worker_host.domains() == [first.id]


class TestJournal:
    def test_garbage_is_set_aside_and_the_others_go_on(self, worker_host: WorkerHost) -> None:
        journal = Journal(worker_host.settings.journal_dir)
        (journal.directory / "a.json").write_bytes(b"")
        (journal.directory / "b.json").write_bytes(b"\xff{{{")
        (journal.directory / "c.json").write_text('{"job_id": "c"}')
        journal.write(Entry("d", "machine"))
        assert [entry.job_id for entry in journal.entries()] == ["d"]
        assert sorted(path.name for path in journal.directory.glob("*.bad")) == ["a.bad", "b.bad", "c.bad"]

    def test_nothing_is_begun_that_cannot_be_written_down(self, worker_host: WorkerHost) -> None:
        dom0, machine = worker_host.dom0(), worker_host.machine()
        worker_host.settings.journal_dir.rmdir()
        end = worker_host.do(dom0, "create", machine)
        assert (end.event, end.error_code, end.is_retryable) == ("FAILED", "JOURNAL_UNWRITABLE", True)
        assert worker_host.domains() == []
        assert worker_host.files_of(machine) == []

    def test_an_end_report_is_sent_again_until_it_is_taken(self, worker_host: WorkerHost) -> None:
        dom0 = worker_host.dom0()
        worker_host.is_portal_away = True
        order = worker_host.order("create", worker_host.machine())
        executor.obey(dom0, worker_host.envelope(order), now=int(time.time()))
        assert dom0.reporter.flush(timeout_seconds=5)
        assert worker_host.reports == []
        worker_host.is_portal_away = False
        reconciler = Reconciler(dom0)
        reconciler.look()
        assert worker_host.end_of(order.job_id).event == "SUCCEEDED"
        assert dom0.reporter.flush(timeout_seconds=5)
        count = len(worker_host.reports)
        reconciler.look()
        assert dom0.reporter.flush(timeout_seconds=5)
        assert len(worker_host.reports) == count

"""An exception that nobody foresaw: the job ends and is cleaned up, and the log has it under a reference."""

import logging

import pytest

from tests.worker.worker_host import WorkerHost
from worker import failpoints


@pytest.fixture
def bug_in_the_disk_step():
    def reach(name: str) -> None:
        if name == "DISK is done":
            raise ZeroDivisionError("nobody thought of this")

    failpoints.listener = reach
    yield
    failpoints.listener = None


@pytest.mark.usefixtures("bug_in_the_disk_step")
class TestBug:
    def test_is_told_with_a_reference_that_the_log_has_beside_the_traceback(
        self, worker_host: WorkerHost, caplog: pytest.LogCaptureFixture
    ) -> None:
        machine = worker_host.machine()
        with caplog.at_level(logging.ERROR):
            end = worker_host.do(worker_host.dom0(), "create", machine)
        assert (end.event, end.error_code) == ("FAILED", "INTERNAL_ERROR")
        assert len(end.error_reference) == 16
        (said,) = [one for one in caplog.records if end.error_reference in one.message and one.exc_info]
        assert said.exc_info is not None
        assert said.exc_info[0] is ZeroDivisionError
        assert "nobody thought of this" not in end.error_message
        assert worker_host.files_of(machine) == []


class TestForeseenFailure:
    def test_has_no_reference(self, worker_host: WorkerHost) -> None:
        end = worker_host.do(worker_host.dom0(), "start", worker_host.machine())
        assert (end.event, end.error_code, end.error_reference) == ("FAILED", "MACHINE_MISSING", "")

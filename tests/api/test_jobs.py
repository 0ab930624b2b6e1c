"""Jobs by API."""

import pytest

from tests.fixtures import report


class TestShow:
    def test_says_how_far_it_is(self, as_alice, order_machine):
        job = order_machine()
        report(job, "STARTED")
        report(job, "STEP", step="DISK", progress=20)
        seen = as_alice.get(f"jobs/{job.id}/").json()
        assert set(seen) == {
            "id", "kind", "machine", "host", "status", "progress", "step", "waiting_for", "error",
            "is_cancellable", "cancel_asked_at", "migration",
            "console_tail", "created_at", "started_at", "finished_at",
        }  # fmt: skip
        assert (seen["status"], seen["step"], seen["progress"]) == ("RUNNING", "DISK", 20)
        assert seen["error"] is None

    def test_says_why_it_failed(self, as_alice, order_machine):
        job = order_machine()
        report(job, "STARTED")
        report(
            job,
            "FAILED",
            error_code="DISK_FULL",
            error_message="The pool local of xen1 is full.",
            is_retryable=True,
            console_tail="Kernel panic",
        )
        seen = as_alice.get(f"jobs/{job.id}/").json()
        assert seen["status"] == "FAILED"
        assert seen["error"] == {
            "code": "DISK_FULL",
            "reason": "DISK_FULL",
            "params": {},
            "message": "The pool local of xen1 is full.",
            "retryable": True,
            "reference": "",
        }
        assert seen["console_tail"] == "Kernel panic"
        assert seen["finished_at"].endswith("Z")

    def test_says_why_it_failed_as_a_code_with_parameters(self, as_alice, order_machine):
        job = order_machine()
        report(job, "STARTED")
        report(
            job,
            "FAILED",
            error_code="POOL_UNKNOWN",
            error_reason="POOL_NOT_HERE",
            error_params={"pool": "fast"},
            error_message="as the host says it",
        )
        error = as_alice.get(f"jobs/{job.id}/").json()["error"]
        assert (error["code"], error["reason"]) == ("POOL_UNKNOWN", "POOL_NOT_HERE")
        assert error["params"] == {"pool": "fast"}
        assert error["message"] == "The host has no storage pool fast. Choose another host or pool."

    @pytest.mark.parametrize("code", ["INTERNAL_ERROR", "INTERNAL"])
    def test_an_error_nobody_foresaw_has_a_reference(self, as_alice, order_machine, code):
        job = order_machine()
        report(job, "STARTED")
        report(job, "FAILED", error_code=code, error_message="Oh.", error_reference="0123abcd")
        seen = as_alice.get(f"jobs/{job.id}/").json()
        assert seen["status"] == "ERROR"
        assert (seen["error"]["code"], seen["error"]["reference"]) == ("INTERNAL_ERROR", "0123abcd")
        assert seen["finished_at"]
        assert as_alice.get(f"jobs/{job.id}/events/").json()["results"][-1]["event"] == "ERROR"

    def test_who_asks_for_what_failed_gets_errors_too(self, as_alice, order_machine):
        job = order_machine()
        report(job, "FAILED", error_code="INTERNAL_ERROR")
        for status, found in (("FAILED", [str(job.id)]), ("ERROR", [str(job.id)]), ("SUCCEEDED", [])):
            rows = as_alice.get(f"jobs/?status={status}").json()["results"]
            assert [row["id"] for row in rows] == found

    def test_lists_what_happened(self, as_alice, order_machine):
        job = order_machine()
        report(job, "STARTED")
        report(job, "STEP", step="DISK", progress=20)
        report(job, "SUCCEEDED", power="RUNNING")
        rows = as_alice.get(f"jobs/{job.id}/events/").json()["results"]
        assert {"at", "event", "step", "progress", "message", "reason", "params"} == set(rows[0])
        told = [row["event"] for row in rows]
        assert told[-3:] == ["STARTED", "STEP", "SUCCEEDED"]
        assert rows == sorted(rows, key=lambda row: row["at"])

    def test_is_not_for_a_stranger(self, as_charlie, order_machine):
        job = order_machine()
        for path in (f"jobs/{job.id}/", f"jobs/{job.id}/events/", f"jobs/{job.id}/?wait=1"):
            assert as_charlie.get(path).status_code == 404
        assert as_charlie.get("jobs/").json()["results"] == []


class TestList:
    def test_is_narrowed(self, as_alice, make_machine):
        machine = make_machine("web1")
        make_machine("web2")
        as_alice.post(f"machines/{machine.id}/reboot/")
        count = {
            query: len(as_alice.get(f"jobs/{query}").json()["results"])
            for query in ("", f"?machine={machine.id}", "?status=QUEUED", "?status=FAILED")
        }
        assert list(count.values()) == [3, 2, 1, 0]

    @pytest.mark.parametrize("query", ["?machine=x", "?status=DONE", "?kind=CREATE", "?wait=1"])
    def test_refuses_a_parameter_it_does_not_know(self, query, as_alice):
        assert as_alice.get(f"jobs/{query}").status_code == 400


class TestWait:
    @pytest.mark.parametrize("wait", ["-1", "61", "x", "1.5", "NaN", "1e1", "9223372036854775808", ""])
    def test_refuses_a_time_that_is_none(self, wait, as_alice, order_machine):
        job = order_machine()
        assert as_alice.get(f"jobs/{job.id}/?wait={wait}").status_code == 400


class TestCancel:
    def test_answers_with_the_job(self, as_alice, order_machine):
        job = order_machine()
        answer = as_alice.post(f"jobs/{job.id}/cancel/")
        assert answer.status_code == 202
        assert answer.headers["Location"].endswith(f"/jobs/{job.id}/")
        assert (answer.json()["status"], answer.json()["is_cancellable"]) == ("QUEUED", True)
        assert answer.json()["cancel_asked_at"]

    def test_after_the_end_is_refused(self, as_alice, order_machine):
        job = order_machine()
        report(job, "SUCCEEDED", power="RUNNING")
        answer = as_alice.post(f"jobs/{job.id}/cancel/")
        assert (answer.status_code, answer.json()["code"]) == (409, "NOT_CANCELLABLE")

    def test_is_not_for_a_stranger(self, as_charlie, order_machine):
        job = order_machine()
        assert as_charlie.post(f"jobs/{job.id}/cancel/").status_code == 404
        job.refresh_from_db()
        assert job.cancel_asked_at is None

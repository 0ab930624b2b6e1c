"""A row, a report or an order of a kind that this portal does not know stops nothing else."""

import base64
import json
from datetime import timedelta

import pytest

from tests.fixtures import heard_until, report
from webxen.diagnostics import verify
from webxen.inbox import tasks
from webxen.jobs import operations, orders, queries
from webxen.jobs.models import Job, RoundFailure
from webxen.machines.models import Machine
from worker import contract

LATER = timedelta(seconds=10)


@pytest.fixture
def snooze(order_machine):
    """A job that a newer portal left behind, not sent yet, beside one of a known kind."""
    job, _other = order_machine("newer"), order_machine("web1")
    Machine.objects.filter(id=job.machine_id).update(state="READY", power="RUNNING")
    Job.objects.filter(id=job.id).update(kind="SNOOZE")
    job.refresh_from_db()
    return job


class TestAJobOfAnUnknownKind:
    def test_is_not_sent_and_the_others_are(self, snooze, mailbox, now, caplog):
        assert operations.sweep(now=now + LATER)["sent"] == 1
        (order,) = mailbox.orders("xen1")
        assert order.kind == "CREATE"
        (row,) = RoundFailure.objects.all()
        assert (row.step, row.about, row.error) == ("send", str(snooze.id), "UnknownKind")
        assert f"send: {snooze.id} failed" in caplog.text
        found = verify.verify(host=None, fixed_by=None, now=now + LATER).findings
        assert [one.said for one in found if one.code == "ROUND_FAILS"] == [
            f"Step send fails for {snooze.id} (1 time): UnknownKind."
        ]

    def test_can_be_cancelled(self, snooze, mailbox, alice, now, django_capture_on_commit_callbacks):
        with django_capture_on_commit_callbacks(execute=True):
            operations.cancel_job(user=alice, job_id=snooze.id, now=now)
        (order,) = mailbox.orders("xen1")
        assert (order.kind, order.job_id) == ("CANCEL", str(snooze.id))
        assert report(snooze, "CANCELLED")
        snooze.refresh_from_db()
        assert snooze.status == "CANCELLED"

    def test_goes_on_as_its_host_reports(self, snooze):
        assert report(snooze, "STARTED")
        assert report(snooze, "SUCCEEDED", power="PAUSED")
        snooze.refresh_from_db()
        assert (snooze.status, snooze.machine.power) == ("SUCCEEDED", "PAUSED")

    def test_ends_where_its_host_does_not_say(self, snooze):
        assert report(snooze, "SUCCEEDED", power="UNKNOWN")
        snooze.refresh_from_db()
        assert (snooze.status, snooze.machine.power) == ("SUCCEEDED", "RUNNING")

    def test_is_given_up_with_the_others(self, snooze, now):
        for job in Job.objects.all():
            report(job, "STARTED")
        late = now + timedelta(hours=1)
        heard_until(late)
        assert operations.sweep(now=late)["given_up"] == 2
        snooze.refresh_from_db()
        assert snooze.error_code == "NO_ANSWER"
        assert orders.deadline_seconds("SNOOZE") == orders.deadline_seconds("MIGRATE")

    def test_is_cancellable_as_long_as_it_is_open(self, snooze):
        assert queries.why_not_cancellable(snooze) == ""


class TestAnEnvelopeOfAnUnknownKind:
    @pytest.mark.parametrize("kind", ["NEWS", "", None, 7, "START"])
    def test_is_dropped_with_one_line(self, snooze, xen1_key, caplog, now, kind):
        message = contract.Report(job_id=str(snooze.id), machine_id=str(snooze.machine_id), event="STARTED")
        envelope = contract.seal(
            message, host="xen1", sign=xen1_key.sign, not_after=int(now.timestamp()) + 600
        )
        inner = json.loads(json.loads(envelope)["signed"])
        inner["message"]["kind"] = kind
        text = json.dumps(inner)
        tasks.receive_report(json.dumps({"signed": text, "signature": _signed(xen1_key, text)}))
        snooze.refresh_from_db()
        assert snooze.status == "QUEUED"
        assert caplog.text.count("dropped") == 1


def _signed(key, text):
    return base64.b64encode(key.sign(text.encode())).decode()

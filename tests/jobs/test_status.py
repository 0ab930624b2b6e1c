"""A job's status changes by its table alone: every event on every status."""

import pytest
from django.db.models import Q

from tests.fixtures import report
from webxen.jobs import operations
from webxen.jobs.models import Job
from webxen.jobs.status import INITIAL, TRANSITIONS, Event, change


@pytest.fixture
def job(order_machine):
    return order_machine()


@pytest.mark.parametrize("event", Event)
@pytest.mark.parametrize("status", Job.Status)
class TestEveryEventOnEveryStatus:
    def test_follows_the_table(self, job, status, event, now):
        Job.objects.filter(id=job.id).update(status=status, finished_at=None, waiting_for="a host")
        is_allowed = status in TRANSITIONS[event].sources
        assert change(job_id=job.id, event=event, now=now, step="DISK") is is_allowed
        job.refresh_from_db()
        assert job.status == (TRANSITIONS[event].target if is_allowed else status)
        assert (job.step == "DISK") is is_allowed
        has_ended = is_allowed and job.status not in Job.OPEN
        assert (job.finished_at == now) is has_ended
        assert (job.waiting_for == "") is has_ended


class TestTable:
    def test_every_status_can_be_reached(self):
        reached = {transition.target for transition in TRANSITIONS.values()} | INITIAL
        assert reached == set(Job.Status)

    def test_an_end_is_left_only_where_the_host_was_silent(self):
        left = {source for transition in TRANSITIONS.values() for source in transition.sources}
        assert left - set(Job.OPEN) == {Job.Status.FAILED}

    def test_condition_is_part_of_the_update(self, job, now):
        assert not change(job_id=job.id, event=Event.STARTED, now=now, still=Q(sequence__gt=5))
        job.refresh_from_db()
        assert job.status == Job.Status.QUEUED


class TestErrorNobodyForesaw:
    def test_ends_the_create_as_a_failure_does(self, job, now):
        report(job, "STARTED")
        report(job, "FAILED", error_code="INTERNAL_ERROR", error_message="Oh.", error_reference="0123abcd")
        job.refresh_from_db()
        assert (job.status, job.error_reference) == ("ERROR", "0123abcd")
        assert job.machine.state == "FAILED"
        assert not operations.queries.open_job_of(machine_id=job.machine_id)

    def test_a_failure_that_is_foreseen_is_none(self, job):
        report(job, "FAILED", error_code="DISK_FULL", error_message="Full.")
        job.refresh_from_db()
        assert (job.status, job.error_reference) == ("FAILED", "")

"""Kinds of jobs that register themselves, and what becomes of their rows where an app took over a model."""

from datetime import datetime
from typing import Any

import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from tests.fixtures import NOW, job_of, report
from webxen.fleet.models import Evacuation
from webxen.inventory.models import Host
from webxen.jobs import kinds, operations, queries
from webxen.jobs.models import Job
from webxen.machines.models import Machine
from webxen.migration.models import Move, MoveSide

BEFORE = [("migration", None), ("fleet", None), ("jobs", "0007_a_round_notes_what_fails")]


def migrate(targets: list[Any]) -> Any:
    """Bring the database there; answers the models of that time."""
    executor = MigrationExecutor(connection)
    executor.migrate(targets)
    executor.loader.build_graph()
    return executor.loader.project_state([one for one in targets if one[1]]).apps


class Strict(kinds.JobKind):
    """A kind that takes every report and refuses every cancel."""

    name = "strict"

    def __init__(self) -> None:
        self.heard: list[str] = []

    def handle_report(self, *, host: Host, report: Any, now: datetime) -> bool | None:
        self.heard.append(report.event)
        return True

    def why_too_late(self, *, job: Job) -> str:
        return "Not this one."


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> Strict:
    rules = Strict()
    monkeypatch.setitem(kinds.registered(), "REBOOT", rules)  # type: ignore[arg-type]
    return rules


class TestARegisteredKind:
    def test_takes_the_reports_of_its_jobs(self, strict: Strict, web1: Machine, alice: Any) -> None:
        job = operations.act(action="reboot", user=alice, machine_id=web1.id, now=NOW)
        assert report(job, "STARTED")
        assert strict.heard == ["STARTED"]
        assert Job.objects.get(id=job.id).status == Job.Status.QUEUED

    def test_leaves_those_of_others_alone(self, strict: Strict, web1: Machine, alice: Any) -> None:
        job = operations.act(action="shutdown", user=alice, machine_id=web1.id, now=NOW)
        assert report(job, "STARTED")
        assert strict.heard == []
        assert Job.objects.get(id=job.id).status == Job.Status.RUNNING

    def test_says_why_it_cannot_be_cancelled(self, strict: Strict, web1: Machine, alice: Any) -> None:
        job = operations.act(action="reboot", user=alice, machine_id=web1.id, now=NOW)
        assert queries.why_not_cancellable(job) == "Not this one."
        with pytest.raises(operations.TooLateError, match="Not this one"):
            operations.cancel_job(user=alice, job_id=job.id, now=NOW)

    def test_is_passed_by_where_plain_jobs_are_sent_again(
        self, strict: Strict, web1: Machine, alice: Any
    ) -> None:
        operations.act(action="reboot", user=alice, machine_id=web1.id, now=NOW)
        assert not list(operations.timeouts.due_again(now=NOW.replace(year=NOW.year + 1)))


def test_only_migrations_are_registered() -> None:
    assert list(kinds.registered()) == [Job.Kind.MIGRATE]


@pytest.mark.django_db(transaction=True)
def test_rows_of_a_database_of_before_are_read_by_the_apps_of_now(web1: Machine, xen1: Host) -> None:
    job = job_of(web1)
    move = Move.objects.create(job=job, source=xen1, target=xen1, method="COLD", deadline_seconds=9)
    MoveSide.objects.create(move=move, side="SOURCE", host=xen1)
    Evacuation.objects.create(kind="DRAIN", host=xen1, created_at=NOW)
    ContentType.objects.get_for_models(Move, Evacuation)
    try:
        old = migrate(BEFORE)
        assert old.get_model("jobs", "Move").objects.get().sides.count() == 1
        assert old.get_model("jobs", "Evacuation").objects.count() == 1
        assert ContentType.objects.filter(app_label="jobs", model="move").exists()
    finally:
        executor = MigrationExecutor(connection)
        executor.migrate(executor.loader.graph.leaf_nodes())
    assert Move.objects.get().sides.get().host == xen1
    assert Evacuation.objects.get().host == xen1
    labels = ContentType.objects.filter(model__in=("move", "evacuation")).values_list("app_label", flat=True)
    assert sorted(labels) == ["fleet", "migration"]

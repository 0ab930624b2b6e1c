"""The nightly task: what is old goes, what is young or referred to stays, and it stops in time."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.core.management import call_command

from tests.fixtures import NOW, job_of, report
from webxen import env, tidy
from webxen.accounts import operations as accounts
from webxen.accounts.models import ApiToken, User
from webxen.api.models import IdempotencyKey
from webxen.approvals import operations as approvals
from webxen.approvals.models import MachineRequest, QuotaRequest
from webxen.console import operations as console
from webxen.console.models import ConsoleTicket
from webxen.core import audit, batches
from webxen.core.models import AuditEntry
from webxen.enrolment import joining
from webxen.fleet.models import Evacuation, EvacuationStep, Fencing
from webxen.inventory.models import Host, JoinToken
from webxen.jobs import operations as jobs
from webxen.jobs.models import Job, JobEvent
from webxen.machines.models import Machine, MachineMove
from webxen.migration.models import Move, MoveSide

LATER = NOW + timedelta(days=401)


def run(now: Any = LATER) -> dict[str, int]:
    return tidy.tidy_up(now=now, may_go_on=lambda: True)


def restart(machine: Machine, user: User, now: Any = NOW) -> Job:
    job = jobs.act(action="reboot", machine_id=machine.id, user=user, now=now)
    report(job, "STARTED", now=now)
    report(job, "SUCCEEDED", power="RUNNING", now=now)
    return job


class TestSmallThings:
    def test_that_are_spent_go(self, web1: Machine, alice: User, dana: User, mailbox: object) -> None:
        SessionStore().create()
        Session.objects.update(expire_date=NOW)
        console.open_ticket(user=alice, machine=web1, now=NOW)
        accounts.create_token(user=alice, name="old", expires_at=NOW + timedelta(days=1), now=NOW)
        accounts.create_token(user=alice, name="for ever", expires_at=None, now=NOW)
        joining.make_token(staff=dana, name="xen9", is_rejoin=False, now=NOW)
        IdempotencyKey.claim(user=alice, key_hash="k", fingerprint="f", now=NOW)
        counts = run()
        assert not Session.objects.exists()
        assert not ConsoleTicket.objects.exists()
        assert not JoinToken.objects.exists()
        assert not IdempotencyKey.objects.exists()
        assert [token.name for token in ApiToken.objects.all()] == ["for ever"]
        assert {counts[name] for name in ("sessions", "console tickets", "join tokens", "tokens")} == {1}

    def test_that_are_young_stay(self, web1: Machine, alice: User, dana: User, mailbox: object) -> None:
        SessionStore().create()
        Session.objects.update(expire_date=NOW + timedelta(days=1))
        console.open_ticket(user=alice, machine=web1, now=NOW)
        accounts.create_token(user=alice, name="old", expires_at=NOW + timedelta(days=1), now=NOW)
        joining.make_token(staff=dana, name="xen9", is_rejoin=False, now=NOW)
        IdempotencyKey.claim(user=alice, key_hash="k", fingerprint="f", now=NOW)
        assert not any(run(NOW + timedelta(seconds=1)).values())


class TestJobs:
    def test_of_a_machine_that_exists_keep_the_first_and_the_newest(
        self, web1: Machine, alice: User, mailbox: object
    ) -> None:
        made = job_of(web1)
        restart(web1, alice, NOW + timedelta(hours=1))
        newest = restart(web1, alice, NOW + timedelta(hours=2))
        run()
        assert set(Job.objects.all()) == {made, newest}
        assert Machine.objects.filter(id=web1.id).exists()
        assert MachineMove.objects.filter(machine=web1).exists()

    def test_of_a_deleted_machine_go_and_its_row_stays(
        self, web1: Machine, alice: User, mailbox: object
    ) -> None:
        job = jobs.delete_machine(machine_id=web1.id, user=alice, now=NOW)
        report(job, "STARTED")
        report(job, "SUCCEEDED")
        run(NOW + timedelta(days=399))
        assert Job.objects.count() == 2
        run()
        assert not Job.objects.exists()
        assert not JobEvent.objects.exists()
        assert not MachineMove.objects.exists()
        assert Machine.objects.get().state == "DELETED"

    def test_that_are_open_stay_however_old(self, order_machine: Any, mailbox: object) -> None:
        job = order_machine()
        run()
        assert Job.objects.get() == job
        assert job.events.exists()

    def test_lose_their_steps_first(self, web1: Machine, mailbox: object) -> None:
        run(NOW + timedelta(days=89))
        assert JobEvent.objects.exists()
        run(NOW + timedelta(days=91))
        assert not JobEvent.objects.exists()
        assert Job.objects.exists()

    @pytest.mark.parametrize(("discarded_at", "stays"), [(None, True), (NOW, False)])
    def test_over_two_hosts_stay_while_the_source_keeps_disks(
        self, web1: Machine, alice: User, xen1: Host, mailbox: object, discarded_at: Any, stays: bool
    ) -> None:
        moved = restart(web1, alice, NOW + timedelta(hours=1))
        restart(web1, alice, NOW + timedelta(hours=2))
        move = Move.objects.create(
            job=moved, source=xen1, target=xen1, method="COLD", phase="ENDED", verdict="MOVED",
            copied=["d1"], deadline_seconds=1, discarded_at=discarded_at,
        )  # fmt: skip
        MoveSide.objects.create(move=move, side="SOURCE", host=xen1)
        run()
        assert Move.objects.exists() is stays
        assert MoveSide.objects.exists() is stays
        assert Job.objects.filter(id=moved.id).exists() is stays

    def test_of_an_evacuation_go_with_it(
        self, web1: Machine, alice: User, dana: User, xen1: Host, mailbox: object
    ) -> None:
        job = restart(web1, alice, NOW + timedelta(hours=1))
        restart(web1, alice, NOW + timedelta(hours=2))
        plan = Evacuation.objects.create(kind="DRAIN", host=xen1, created_at=NOW)
        EvacuationStep.objects.create(evacuation=plan, machine=web1, source=xen1, job=job)
        run()
        assert EvacuationStep.objects.exists()
        assert Job.objects.filter(id=job.id).exists()
        Evacuation.objects.update(finished_at=NOW)
        Fencing.objects.create(
            host=xen1, asked_by=dana, agent="a", phase="OFF", created_at=NOW, finished_at=NOW
        )
        run()
        assert not Evacuation.objects.exists()
        assert not Fencing.objects.exists()
        assert not Job.objects.filter(id=job.id).exists()


class TestRequests:
    def test_that_were_decided_go_and_those_that_wait_stay(
        self, pending: MachineRequest, more_wanted: QuotaRequest, alice: User
    ) -> None:
        run()
        assert MachineRequest.objects.exists()
        assert QuotaRequest.objects.exists()
        approvals.withdraw(request_id=pending.id, user=alice, now=NOW)
        approvals.withdraw_quota(request_id=more_wanted.id, user=alice, now=NOW)
        run()
        assert not MachineRequest.objects.exists()
        assert not QuotaRequest.objects.exists()

    def test_of_a_machine_that_exists_stay(self, pending: MachineRequest, web1: Machine) -> None:
        MachineRequest.objects.update(machine=web1, status="APPROVED", decided_at=NOW, job=job_of(web1))
        run()
        assert MachineRequest.objects.exists()
        assert Job.objects.exists()


class TestAuditLog:
    def test_is_kept_longest_and_can_be_written_out_before(
        self, alice: User, capsys: pytest.CaptureFixture[str], settings: Any
    ) -> None:
        audit.record(actor=alice, action="ONE", target_kind="machine", target_id="1", now=NOW)
        audit.record(
            actor=None, action="TWO", target_kind="machine", target_id="2", now=NOW + timedelta(days=9)
        )
        run()
        assert AuditEntry.objects.count() == 2
        call_command("export_audit", before=(NOW + timedelta(days=1)))
        (line,) = [json.loads(text) for text in capsys.readouterr().out.splitlines()]
        assert (line["action"], line["actor"], line["at"]) == ("ONE", "alice", NOW.isoformat())
        run(NOW + timedelta(days=settings.WEBXEN_KEEP_AUDIT_DAYS, seconds=1))
        assert [entry.action for entry in AuditEntry.objects.all()] == ["TWO"]

    def test_may_not_be_kept_shorter_than_jobs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("WEBXEN_KEEP_AUDIT_DAYS", "30")
        with pytest.raises(env.SettingError, match="from 400 on"):
            env.number_from("WEBXEN_KEEP_AUDIT_DAYS", 1830, least=400)


class TestRun:
    def test_stops_in_time_and_goes_on_the_next_night(
        self, alice: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(batches, "ROWS", 2)
        for _ in range(5):
            audit.record(actor=alice, action="ONE", target_kind="machine", target_id="1", now=NOW)
        answers = iter([True, False])
        rows = AuditEntry.objects.all()
        assert batches.delete(rows, may_go_on=lambda: next(answers)) == 2
        assert batches.delete(rows, may_go_on=lambda: True) == 3

    def test_is_on_the_clock_every_night(self, settings: Any) -> None:
        entry = settings.CELERY_BEAT_SCHEDULE["tidy"]
        assert entry["task"] == tidy.tidy.name
        assert (entry["schedule"].hour, entry["schedule"].minute) == ({3}, {10})

"""One job's, move's or host's error stops no round: the others have their turn, and staff is told."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, OperationalError

from webxen.diagnostics import verify
from webxen.enrolment import trust
from webxen.fleet import fencing
from webxen.fleet.models import Fencing
from webxen.inventory.models import Host
from webxen.jobs import observing, operations, rounds
from webxen.jobs.models import RoundFailure
from webxen.machines.models import Machine

BAD_SEED = {"ssh_keys": 7}


def failures():
    return {(one.step, one.error): one.times for one in RoundFailure.objects.all()}


class TestEach:
    def test_gives_everybody_a_turn_and_keeps_who_failed(self, db, now, caplog):
        seen = []

        def act(item):
            seen.append(item)
            return 10 // item

        assert rounds.each("divide", [5, 0, 2], act, now=now) == 7
        assert seen == [5, 0, 2]
        assert "divide: 0 failed" in caplog.text
        (row,) = RoundFailure.objects.all()
        assert (row.step, row.about, row.error, row.times) == ("divide", "0", "ZeroDivisionError", 1)

    def test_who_failed_comes_last_next_time_and_is_forgotten_once_well(self, db, now):
        rounds.each("divide", [0, 5], lambda item: 10 // item, now=now)
        later, seen = now + timedelta(seconds=10), []
        rounds.each("divide", [0, 5], lambda item: seen.append(item) or 10 // item, now=later)
        assert seen == [5, 0]
        (row,) = RoundFailure.objects.all()
        assert (row.times, row.first_at, row.last_at) == (2, now, later)
        rounds.each("divide", [0, 5], lambda _: 1, now=later)
        assert not RoundFailure.objects.exists()

    def test_ends_after_many_errors_and_the_healthy_are_first_from_then_on(self, db, now):
        sick = list(range(rounds.MOST_FAILURES + 10))

        def act(item):
            seen.append(item)
            return 1 if item == "well" else sick.index(item) // 0

        seen = []
        assert rounds.each("x", [*sick, "well"], act, now=now) == 0
        assert len(seen) == rounds.MOST_FAILURES
        seen.clear()
        assert rounds.each("x", [*sick, "well"], act, now=now) == 1
        assert len(seen) <= rounds.MOST_FAILURES + 1

    def test_a_database_that_is_away_is_nobodys_own(self, db, now):
        def act(item):
            raise OperationalError("server closed the connection unexpectedly")

        with pytest.raises(OperationalError):
            rounds.each("x", [1, 2], act, now=now)

    @pytest.mark.parametrize("code", ["55P03", "40P01", "40001"])
    def test_a_row_that_somebody_holds_is_that_rows(self, db, now, code):
        class Cause(Exception):
            sqlstate = code

        def act(item):
            if item == 1:
                raise OperationalError("canceling statement due to lock timeout") from Cause()
            return 1

        assert rounds.each("x", [1, 2], act, now=now) == 1

    def test_a_broken_statement_spoils_no_transaction_around_it(self, db, now, web1):
        def act(item):
            if item == 1:
                Machine.objects.filter(id=web1.id).update(name=None)
            return Machine.objects.count()

        assert rounds.each("x", [1, 2], act, now=now) == 1
        assert failures() == {("x", IntegrityError.__name__): 1}


class TestSweep:
    def test_sends_the_others_where_one_cannot_be_sent(self, order_machine, mailbox, now):
        bad, good = order_machine("bad"), order_machine("good")
        Machine.objects.filter(id=bad.machine_id).update(seed=BAD_SEED)
        at = now + timedelta(seconds=10)
        assert operations.sweep(now=at)["sent"] == 1
        assert [order.job_id for order in mailbox.orders("xen1")] == [str(good.id)]
        assert failures() == {("send", "TypeError"): 1}
        found = verify.verify(host=None, fixed_by=None, now=at).findings
        assert [one.said for one in found if one.code == "ROUND_FAILS"] == [
            f"Step send fails for {bad.id} (1 time): TypeError."
        ]
        Machine.objects.filter(id=bad.machine_id).update(seed={})
        assert operations.sweep(now=at)["sent"] == 1
        assert failures() == {}

    def test_places_the_others_where_one_cannot_be_judged(self, order_machine, xen1, mailbox, now):
        Host.objects.update(state="DRAINING")
        bad, good = order_machine("bad"), order_machine("good")
        Machine.objects.filter(id=bad.machine_id).update(tags=7)
        Host.objects.update(state="ACTIVE")
        assert operations.sweep(now=now)["placed"] == 1
        good.refresh_from_db()
        assert good.host == xen1
        assert ("place", "TypeError") in failures()

    def test_does_its_other_steps_where_one_fails_as_a_whole(self, order_machine, mailbox, settings, now):
        order_machine()
        settings.WEBXEN_HOST_TIMEOUT_SECONDS = None
        done = operations.sweep(now=now + timedelta(seconds=10))
        assert done.keys() == {"placed", "given_up", "sent", "moves"}
        assert {step for step, _ in failures()} == {"giving up", "sending"}

    def test_a_host_that_is_not_accepted_holds_up_no_other_hosts_orders(
        self, order_machine, pair, mailbox, now
    ):
        first = order_machine("first", host_name="xen1")
        second = order_machine("second", host_name="xen2")
        Host.objects.filter(name="xen1").update(state="NEW")
        assert operations.sweep(now=now + timedelta(seconds=10))["sent"] == 1
        assert [order.job_id for order in mailbox.orders("xen2")] == [str(second.id)]
        first.refresh_from_db()
        assert "no administrator has accepted" in first.waiting_for


class TestOtherRounds:
    def test_tend_looks_after_the_brokers_accounts_without_a_key(self, xen1, settings, tmp_path, now):
        settings.WEBXEN_PORTAL_KEY_FILE = tmp_path / "none.key"
        Host.objects.update(broker_passwords=[{"sha256": "0", "until": "2020-01-01T00:00:00+00:00"}])
        trust.tend(now=now)
        assert Host.objects.get().broker_passwords == []
        assert failures() == {("portal keys", "KeyUnusable"): 1}

    def test_watch_loses_sight_of_the_others(self, web1, now):
        assert observing.lose_sight(now=now + timedelta(hours=1)) == 1
        assert failures() == {}

    def test_fence_claims_the_others(self, pair, dana, settings, now):
        for host in pair:
            Fencing.objects.create(host=host, asked_by=dana, agent="fence_x", created_at=now)
        Host.objects.filter(name="xen1").update(observed_at=None)
        Host.objects.filter(name="xen2").update(observed_at=None)
        assert len(fencing.claim(now=now)) == 2
        assert failures() == {}

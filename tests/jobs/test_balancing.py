"""Hosts evened out by policy: in its window alone, within the limits, and never where something is amiss."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.fixture_cache import shared
from tests.fixtures import orderer, report
from tests.moves import domain, listens, show, tell
from webxen.core import windows
from webxen.core.errors import NotFoundError
from webxen.core.models import AuditEntry
from webxen.fleet import balancing, evacuation, plans
from webxen.fleet.models import Evacuation, EvacuationStep
from webxen.jobs import observing, operations
from webxen.jobs.models import Job
from webxen.machines.models import Machine

#: a Saturday
OPENS = datetime(2026, 11, 28, 1, 0, tzinfo=UTC)
CLOSES = datetime(2026, 11, 28, 5, 0, tzinfo=UTC)
OVER = {"go_passed": True, "closed": True, "phase": "REPORTED"}


@shared
def four(lab, alice, minimal, small, lan, pair, web1):
    """Four machines run on xen1, none on xen2."""
    order_machine = orderer(lab=lab, alice=alice, minimal=minimal, small=small, lan=lan)
    made = [web1]
    for name in ("web2", "web3", "web4"):
        job = order_machine(name, host_name="xen1")
        report(job, "SUCCEEDED", power="RUNNING", config="type = 'pvh'")
        made.append(Machine.objects.get(id=job.machine_id))
    return made


@pytest.fixture(autouse=True)
def policy(settings):
    settings.WEBXEN_BALANCE_WINDOW = windows.read("WEBXEN_BALANCE_WINDOW", "Sat,Sun 01:00-05:00")
    settings.WEBXEN_BALANCE_MIN_GAIN = 5


@pytest.fixture
def both_seen(four, pair):
    """Let both hosts say at this moment what they have."""

    def see(now: datetime) -> datetime:
        for host in pair:
            here = Machine.objects.filter(host=host)
            show(host, *(domain(machine) for machine in here), now=now)
        return now

    return see


def open_moves():
    return Job.objects.filter(kind="MIGRATE", status__in=Job.OPEN)


def finish(job, now):
    listens(job, now=now)
    there = OVER | {"domains": (domain(job.machine, seconds=0.2),)}
    tell(job, "TARGET", "SUCCEEDED", facts=there, now=now)
    tell(job, "SOURCE", "SUCCEEDED", facts=OVER | {"domains": ()}, now=now)


class TestInTheWindow:
    def test_the_best_move_begins_in_the_policys_name(self, both_seen):
        balancing.run_policy(now=both_seen(OPENS))
        job = open_moves().get()
        assert (job.requested_by, job.policy, job.created_at) == (None, "BALANCE", OPENS)
        assert (job.move.source.name, job.move.target.name) == ("xen1", "xen2")
        lines = {entry.action: entry for entry in AuditEntry.objects.filter(at=OPENS)}
        for action in ("BALANCE_BEGUN", "MIGRATE_MACHINE"):
            assert (lines[action].actor, lines[action].policy) == (None, "BALANCE")

    def test_one_at_a_time_until_no_move_gains_enough(self, both_seen):
        now = OPENS
        for _ in range(2):
            balancing.run_policy(now=both_seen(now))
            # as long as that one is under way, another look begins none
            assert balancing.run_policy(now=now) is None
            finish(open_moves().get(), now)
            operations.sweep(now=now)
            now += timedelta(minutes=1)
        assert balancing.run_policy(now=both_seen(now)) is None
        hosts = Machine.objects.values_list("host__name", flat=True)
        assert sorted(hosts) == ["xen1", "xen1", "xen2", "xen2"]
        assert not Evacuation.objects.filter(finished_at=None).exists()

    def test_nothing_begins_that_gains_too_little(self, both_seen, settings):
        best = plans.propose(now=both_seen(OPENS))[0]
        settings.WEBXEN_BALANCE_MIN_GAIN = best.gain_percent + 0.1
        assert balancing.run_policy(now=OPENS) is None
        settings.WEBXEN_BALANCE_MIN_GAIN = best.gain_percent
        assert balancing.run_policy(now=OPENS) is not None

    def test_nothing_begins_that_would_not_be_over_in_time(self, both_seen):
        best = plans.propose(now=both_seen(OPENS))[0]
        last_moment = CLOSES - timedelta(seconds=best.expected_seconds)
        late = last_moment + timedelta(seconds=1)
        assert late < CLOSES
        assert balancing.run_policy(now=both_seen(late)) is None
        assert balancing.run_policy(now=both_seen(last_moment)) is not None

    @pytest.mark.parametrize("end", ["FAILED", "CANCELLED"])
    def test_a_machine_is_not_tried_again_the_same_night(self, end, both_seen):
        balancing.run_policy(now=both_seen(OPENS))
        tried = open_moves().get()
        Evacuation.objects.update(finished_at=OPENS)
        Job.objects.filter(id=tried.id).update(status=end, finished_at=OPENS)
        tried.move.phase = "ENDED"
        tried.move.save()
        soon = OPENS + timedelta(minutes=1)
        balancing.run_policy(now=both_seen(soon))
        assert not open_moves().filter(machine=tried.machine).exists()

    def test_a_move_that_staff_ordered_keeps_its_hosts_to_itself(self, both_seen, four, dana, start_move):
        both_seen(OPENS)
        start_move(machine_id=four[3].id, now=OPENS)
        assert balancing.run_policy(now=OPENS) is None
        assert open_moves().count() == 1


class TestNothingBeginsByItself:
    def test_outside_the_window(self, both_seen):
        for now in (OPENS - timedelta(seconds=1), CLOSES, OPENS - timedelta(days=1)):
            assert balancing.run_policy(now=both_seen(now)) is None

    def test_without_a_window(self, both_seen, settings):
        settings.WEBXEN_BALANCE_WINDOW = None
        assert balancing.run_policy(now=both_seen(OPENS)) is None

    def test_while_a_host_is_drained(self, both_seen, pair, dana):
        both_seen(OPENS)
        evacuation.drain_host(user=dana, host_id=pair[1].id, now=OPENS)
        assert balancing.why_not_now(now=OPENS) == "xen2 is being drained."
        assert balancing.run_policy(now=OPENS) is None

    def test_while_a_host_is_silent(self, both_seen, pair):
        both_seen(OPENS - timedelta(minutes=1))
        show(pair[0], now=OPENS)
        assert balancing.why_not_now(now=OPENS) == "xen2 is not responding."
        assert balancing.run_policy(now=OPENS) is None

    def test_while_it_is_not_known_whether_a_machine_runs(self, both_seen, four, pair):
        show(pair[0], now=OPENS, domains=None)
        show(pair[1], now=OPENS)
        assert balancing.why_not_now(now=OPENS).startswith("It is not known whether web")
        assert balancing.run_policy(now=OPENS) is None

    def test_while_it_is_not_known_where_a_machine_is(self, both_seen, start_move, four):
        both_seen(OPENS)
        job = start_move(machine_id=four[0].id, now=OPENS)
        type(job.move).objects.update(phase="UNKNOWN")
        assert balancing.why_not_now(now=OPENS) == "It is not known where web1 is."

    def test_while_moves_that_staff_approved_are_under_way(self, both_seen, dana):
        both_seen(OPENS)
        proposed = plans.plan_balanced(user=dana, now=OPENS)
        evacuation.balance(user=dana, machine_ids=[step.machine.id for step in proposed], now=OPENS)
        assert balancing.why_not_now(now=OPENS) == "Earlier moves are still in progress."
        assert balancing.run_policy(now=OPENS) is None


class TestAMoveThatCannotBeginAtOnce:
    def test_is_not_kept_for_later(self, both_seen, four):
        """Somebody else's job is open by the time its turn comes: after the window nothing may begin."""
        (best, *_rest) = plans.propose(now=both_seen(OPENS))
        operations.act(action="poweroff", user=four[0].owner, machine_id=best.machine.id, now=OPENS)
        begun = evacuation.balance_by_policy(steps=[best], now=OPENS)
        assert begun.finished_at == OPENS
        assert EvacuationStep.objects.get().progress == "FAILED"
        operations.sweep(now=CLOSES)
        assert not open_moves().exists()


class TestLookAtPolicy:
    def test_says_what_is_set_and_what_it_did_last(self, both_seen, dana):
        before = balancing.look_at_policy(user=dana, now=both_seen(OPENS - timedelta(hours=1)))
        assert (before.closes_at, before.why, before.last) == (None, "", None)
        balancing.run_policy(now=both_seen(OPENS))
        during = balancing.look_at_policy(user=dana, now=OPENS)
        assert (during.closes_at, during.min_gain_percent) == (CLOSES, 5)
        assert during.why == "Earlier moves are still in progress."
        assert during.last.evacuation.created_at == OPENS
        assert len(during.last.steps) == 1

    def test_is_for_staff(self, four, alice, charlie, elsewhere, now):
        for person in (alice, charlie):
            with pytest.raises(NotFoundError):
                balancing.look_at_policy(user=person, now=now)


def test_a_silent_night_is_seen_as_such(four, now):
    """The fixture's hosts were last heard of days before the window: nothing is known, nothing begins."""
    observing.lose_sight(now=OPENS)
    assert balancing.run_policy(now=OPENS) is None

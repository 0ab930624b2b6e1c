"""A host emptied and filled again, a cluster evened out, a dead host's machines started elsewhere."""

from datetime import timedelta

import pytest

from tests.fixture_cache import shared
from tests.fixtures import orderer, report
from tests.moves import domain, listens, show, tell, tell_cleaned
from webxen.core.errors import InvalidError, NotFoundError
from webxen.core.models import AuditEntry
from webxen.fleet import evacuation, failover, plans
from webxen.fleet.models import EvacuationStep
from webxen.inventory.models import Host
from webxen.jobs import observing, operations
from webxen.jobs.models import Job
from webxen.machines.models import Machine

OVER = {"go_passed": True, "closed": True, "phase": "REPORTED"}


@shared
def six(lab, alice, minimal, small, lan, pair, web1):
    """Six machines on xen1: four run, one is off, one has a disk that xen2 does not see."""
    order_machine = orderer(lab=lab, alice=alice, minimal=minimal, small=small, lan=lan)
    made = [web1]
    for name in ("web2", "web3", "web4", "off1", "local1"):
        job = order_machine(name, host_name="xen1")
        report(job, "SUCCEEDED", power="OFF" if name == "off1" else "RUNNING", config="type = 'pvh'")
        made.append(Machine.objects.get(id=job.machine_id))
    made[5].disks.update(pool="another")
    show(pair[0], *(domain(machine) for machine in made if machine.name != "off1"))
    return made


def finish(job, now, *, ok=True):
    """Let a move come to its end, as both hosts would tell it."""
    listens(job, now=now)
    machine = Machine.objects.get(id=job.machine_id)
    if ok:
        there = OVER | {"domains": (domain(machine, seconds=0.2),)}
        tell(job, "TARGET", "SUCCEEDED", facts=there, now=now)
        tell(job, "SOURCE", "SUCCEEDED", facts=OVER | {"domains": ()}, now=now)
    else:
        tell(job, "TARGET", "FAILED", facts={"closed": True, "domains": ()}, now=now)
        here = {"closed": True, "domains": (domain(machine),)}
        tell(job, "SOURCE", "FAILED", error_code="CUT", error_message="It was cut.", facts=here, now=now)
        for side in ("TARGET", "SOURCE"):
            tell_cleaned(job, side, now=now)


def open_moves():
    return Job.objects.filter(kind="MIGRATE", status__in=Job.OPEN)


class TestPlan:
    def test_names_each_machine_its_target_and_what_cannot_move(self, six, dana, pair, now):
        plan = plans.plan_drain(user=dana, host_id=pair[0].id, now=now)
        assert sorted(step.machine.name for step in plan.movable) == ["web1", "web2", "web3", "web4"]
        assert {step.target for step in plan.movable} == {"xen2"}
        whys = {step.machine.name: step.why for step in plan.stuck}
        assert "The machine is off" in whys["off1"]
        assert "no storage pool another" in whys["local1"]
        assert plan.expected_seconds > 0
        assert not Job.objects.filter(kind="MIGRATE").exists()

    def test_gives_no_memory_twice(self, six, dana, pair, now):
        show(pair[1], domains=(), facts={"free_memory": str(64 + 2 * 256)})
        plan = plans.plan_drain(user=dana, host_id=pair[0].id, now=now)
        assert len(plan.movable) == 2

    def test_charlie_sees_none(self, six, charlie, elsewhere, pair, now):
        with pytest.raises(NotFoundError):
            plans.plan_drain(user=charlie, host_id=pair[0].id, now=now)


class TestDrain:
    def test_is_worked_off_one_by_one_and_shown_as_a_whole(self, six, dana, pair, now):
        evacuation.drain_host(user=dana, host_id=pair[0].id, now=now)
        assert Host.objects.get(name="xen1").state == "DRAINING"
        for moved in range(4):
            (job,) = open_moves()
            standing = evacuation.standing(user=dana, host_id=pair[0].id)
            # of six machines: two cannot move
            assert (standing.moved, standing.percent, standing.status) == (moved, 100 * moved // 6, "RUNNING")
            finish(job, now)
        standing = evacuation.standing(user=dana, host_id=pair[0].id)
        assert (standing.moved, standing.left, standing.percent) == (4, 0, 66)
        assert (standing.status, standing.machines_left) == ("INCOMPLETE", 2)
        assert standing.evacuation.finished_at == now
        assert set(Machine.objects.filter(host=pair[0]).values_list("name", flat=True)) == {"off1", "local1"}

    def test_goes_on_when_one_fails_and_says_which(self, six, dana, pair, now):
        evacuation.drain_host(user=dana, host_id=pair[0].id, now=now)
        finish(open_moves().get(), now, ok=False)
        assert open_moves().count() == 1
        failed = EvacuationStep.objects.get(progress="FAILED")
        assert "It was cut." in failed.why

    def test_asked_again_goes_on_with_what_is_left(self, six, dana, pair, now):
        evacuation.drain_host(user=dana, host_id=pair[0].id, now=now)
        finish(open_moves().get(), now, ok=False)
        again = evacuation.drain_host(user=dana, host_id=pair[0].id, now=now)
        finish(open_moves().get(), now)
        assert again.steps.filter(progress__in=("WAITING", "MOVING")).count() >= 2

    def test_is_stopped_by_activating(self, six, dana, pair, now):
        evacuation.drain_host(user=dana, host_id=pair[0].id, now=now)
        evacuation.activate_host(user=dana, host_id=pair[0].id, now=now)
        finish(open_moves().get(), now)
        operations.sweep(now=now)
        assert not open_moves().exists()
        assert Host.objects.get(name="xen1").state == "ACTIVE"

    def test_is_taken_back_machine_by_machine(self, six, dana, pair, now):
        evacuation.drain_host(user=dana, host_id=pair[0].id, now=now)
        finish(open_moves().get(), now)
        finish(open_moves().get(), now)
        evacuation.activate_host(user=dana, host_id=pair[0].id, now=now)
        finish(open_moves().get(), now)
        away = list(Machine.objects.filter(host=pair[1]))
        show(pair[0])
        show(pair[1], *(domain(machine) for machine in away))
        evacuation.bring_back(user=dana, host_id=pair[0].id, now=now)
        for _ in away:
            finish(open_moves().get(), now)
        assert not Machine.objects.filter(host=pair[1]).exists()
        with pytest.raises(evacuation.NothingToMoveError):
            evacuation.bring_back(user=dana, host_id=pair[0].id, now=now)

    def test_charlie_cannot(self, six, charlie, elsewhere, pair, now):
        for act in (evacuation.drain_host, evacuation.activate_host, evacuation.bring_back):
            with pytest.raises(NotFoundError):
                act(user=charlie, host_id=pair[0].id, now=now)


class TestBalance:
    def test_proposes_with_its_gain_and_moves_what_is_approved(self, six, dana, pair, now):
        proposals = plans.plan_balanced(user=dana, now=now)
        assert proposals[0].gain > 0
        assert {step.source for step in proposals} == {"xen1"}
        chosen = proposals[0].machine.id
        evacuation.balance(user=dana, machine_ids=[chosen], now=now)
        assert open_moves().get().machine_id == chosen

    def test_leaves_alone_what_is_not_proposed_any_more(self, six, dana, now):
        with pytest.raises(evacuation.NothingToMoveError):
            evacuation.balance(user=dana, machine_ids=[six[4].id], now=now)

    def test_charlie_sees_none(self, six, charlie, elsewhere, now):
        with pytest.raises(NotFoundError):
            plans.plan_balanced(user=charlie, now=now)


class TestDeadHost:
    @pytest.fixture
    def later(self, six, pair, now):
        """xen1 has said nothing for a minute; xen2 has."""
        at = now + timedelta(seconds=60)
        show(pair[1], now=at)
        return at

    def test_what_runs_there_is_not_known(self, six, later):
        assert observing.lose_sight(now=later) == 6
        assert set(Machine.objects.values_list("power", flat=True)) == {"UNKNOWN"}

    def test_nothing_starts_without_the_words(self, six, later, dana, pair):
        for words in ("", "yes", "xen1", "xen2 is off"):
            with pytest.raises(InvalidError, match="Type exactly: xen1 is off"):
                failover.restart_elsewhere(user=dana, host_id=pair[0].id, untrusted_words=words, now=later)
        assert not Job.objects.filter(kind="START").exists()

    def test_with_them_each_that_can_gets_a_new_host_and_a_new_fence(self, six, later, dana, pair, mailbox):
        before = {machine.id: machine.fence for machine in six}
        jobs = failover.restart_elsewhere(
            user=dana, host_id=pair[0].id, untrusted_words="xen1 is off", now=later
        )
        assert {job.machine.name for job in jobs} == {"web1", "web2", "web3", "web4", "off1"}
        for job in jobs:
            machine = Machine.objects.get(id=job.machine_id)
            assert (machine.host, machine.fence) == (pair[1], before[machine.id] + 1)
            assert Job.objects.get(id=job.id).takes_over_from == "xen1"
        assert AuditEntry.objects.get(action="HOST_SAID_OFF").actor == dana
        stuck = [one for one in failover.plan(user=dana, host_id=pair[0].id, now=later) if not one.target]
        assert [one.machine.name for one in stuck] == ["local1"]

    def test_a_host_that_is_heard_is_not_dead(self, six, dana, pair, now):
        with pytest.raises(failover.HostHeardError):
            failover.restart_elsewhere(user=dana, host_id=pair[0].id, untrusted_words="xen1 is off", now=now)

    def test_charlie_cannot(self, six, later, charlie, elsewhere, pair):
        with pytest.raises(NotFoundError):
            failover.restart_elsewhere(
                user=charlie, host_id=pair[0].id, untrusted_words="xen1 is off", now=later
            )

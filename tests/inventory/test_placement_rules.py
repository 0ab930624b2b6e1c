"""What must hold of every placement and plan, on clusters nobody thought of."""

import dataclasses
import random
import time

import pytest

from tests.bench.placement_world import make
from tests.inventory.clusters import broken_plans, can_die, some, some_machine
from webxen.inventory.placement import Need, capacity, choose_host, plan_balance, plan_evacuation
from webxen.inventory.placement.capacity import hosts_may_fail
from webxen.inventory.placement.choose import pick, rank
from webxen.inventory.placement.cluster import Cluster


def assert_within_limits(cluster: Cluster, before: Cluster) -> None:
    """Nothing more was put on a host than it has, and nothing at all where nothing may go."""
    for place, host in enumerate(cluster.hosts):
        came = cluster.machines[place].keys() - before.machines[place].keys()
        if not came:
            continue
        assert host.is_open
        assert cluster.memory_free[place] >= 0
        assert all(free >= 0 for free in cluster.pools[place].values())
        assert cluster.vcpus[place] <= cluster.vcpus_most[place]
        for group in {cluster.machines[place][name].group for name in came} - {""}:
            assert sum(one.group == group for one in cluster.machines[place].values()) == 1


class TestPlacing:
    def test_never_goes_over_what_a_host_has_nor_where_nothing_may_go(self):
        for dice, hosts in some(40):
            wishes = [some_machine(dice) for _ in range(12)]
            cluster, before = Cluster(hosts), Cluster(hosts)
            for number, wish in enumerate(wishes):
                machine = dataclasses.replace(wish, id=f"new {number}")
                placed = pick(cluster, machine, [place for _, place in rank(cluster, machine)])
                if placed:
                    cluster.put(placed.place, machine)
                else:
                    assert all(cluster.refuse(place, machine) for place in range(len(hosts)))
            assert_within_limits(cluster, before)

    def test_scores_each_place_as_if_it_had_been_put_there(self):
        for dice, hosts in some(40):
            wish = some_machine(dice)
            cluster = Cluster(hosts)
            hard = cluster.score - sum(spread.deviation for spread in cluster.spreads)
            for foretold, place in rank(cluster, wish):
                cluster.put(place, wish)
                assert cluster.score == pytest.approx(foretold + hard, abs=1e-7)
                cluster.take(place, wish)

    def test_judges_every_host_and_gives_a_reason_to_each_it_refuses(self):
        for dice, hosts in some(40):
            wish = some_machine(dice)
            choice = choose_host(hosts, wish)
            assert sorted(verdict.host for verdict in choice.verdicts) == sorted(host.name for host in hosts)
            assert choice.reasons == {one.host: str(one) for one in choice.verdicts if not one.is_fit}
            assert (choice.host is None) == (len(choice.reasons) == len(hosts))
            if choice.host:
                assert choice.verdicts[0].host == choice.host

    def test_breaks_n1_only_where_no_place_keeps_it(self):
        for dice, hosts in some(40):
            wish = some_machine(dice)
            choice = choose_host(hosts, wish)
            if choice.host and choice.verdicts[0].code == "FITS_BREAKS_N1":
                survival = Cluster(sorted(hosts, key=lambda host: host.name)).survival
                fitting = [one for one in choice.verdicts if one.is_fit]
                assert not survival.is_safe or all(one.code == "FITS_BREAKS_N1" for one in fitting)

    def test_takes_the_most_even_place_where_n1_is_not_thought_of(self):
        differs = 0
        # it seldom makes a difference: in clusters number 974 and 1177
        for dice, hosts in some(1200):
            wish = some_machine(dice)
            cluster = Cluster(sorted(hosts, key=lambda host: host.name))
            order = rank(cluster, wish)
            choice = choose_host(hosts, wish, prefers_n1=False)
            assert choice.host == (cluster.hosts[order[0][1]].name if order else None)
            differs += choice.host != choose_host(hosts, wish).host
        assert differs == 2


class TestScore:
    def test_kept_while_machines_move_is_the_score_from_scratch(self):
        for dice, hosts in some(40):
            cluster = Cluster(hosts)
            for _ in range(25):
                source, target = dice.randrange(len(hosts)), dice.randrange(len(hosts))
                if source != target and cluster.machines[source]:
                    cluster.move(dice.choice(list(cluster.machines[source].values())), source, target)
            assert cluster.score == pytest.approx(cluster.score_from_scratch(), abs=1e-7)

    def test_does_not_drift_over_two_thousand_moves(self):
        cluster, dice = (
            Cluster(make(seed=5, count=20, is_shared=False, fill=0.6, wishes=0).hosts),
            random.Random(5),
        )
        for _ in range(2_000):
            source, target = dice.randrange(20), dice.randrange(20)
            if source != target and cluster.machines[source]:
                cluster.move(next(iter(cluster.machines[source].values())), source, target)
        assert cluster.score == pytest.approx(cluster.score_from_scratch(), abs=1e-7)


class TestSurvival:
    def test_every_plan_holds_whatever_comes_and_goes(self):
        for dice, hosts in some(40):
            cluster = Cluster(hosts)
            assert broken_plans(cluster) == []
            for _ in range(25):
                source, target = dice.randrange(len(hosts)), dice.randrange(len(hosts))
                if source != target and cluster.machines[source]:
                    cluster.move(dice.choice(list(cluster.machines[source].values())), source, target)
                assert broken_plans(cluster) == []

    def test_what_it_says_is_kept_is_kept(self):
        told = {True: 0, False: 0}
        for dice, hosts in some(60):
            cluster = Cluster(hosts)
            for number in range(12):
                wish, before = (
                    dataclasses.replace(some_machine(dice), id=f"new {number}"),
                    set(cluster.survival.failing),
                )
                places = [place for _, place in rank(cluster, wish)]
                keeping = {place for place in places if cluster.survival.keeps(place, wish)}
                told[True], told[False] = told[True] + len(keeping), told[False] + len(places) - len(keeping)
                for place in keeping:
                    cluster.put(place, wish)
                    assert cluster.survival.failing <= before
                    assert broken_plans(cluster) == []
                    cluster.take(place, wish)
                    cluster.survival.back_to(before)
                if places:
                    cluster.put(dice.choice(places), wish)
        assert all(count > 100 for count in told.values())

    def test_what_it_calls_safe_is_safe_by_trying_every_way(self):
        for _dice, hosts in some(40, 5):
            failing = Cluster(hosts).survival.failing
            assert all(can_die(hosts, place) for place in range(len(hosts)) if place not in failing)

    def test_it_is_seldom_more_careful_than_it_must_be(self):
        missed = told = 0
        for seed in range(14):
            world = make(seed=seed, count=5, is_shared=True, fill=0.75, wishes=0)
            hosts = [dataclasses.replace(one, machines=one.machines[:7]) for one in world.hosts]
            failing = Cluster(hosts).survival.failing
            for place, host in enumerate(hosts):
                lost = tuple(dataclasses.replace(one, pool="san") for one in host.machines)
                there = [*hosts[:place], dataclasses.replace(host, machines=lost), *hosts[place + 1 :]]
                is_safe = can_die(there, place)
                told += is_safe
                missed += is_safe and place in failing
        assert told > 25
        assert missed <= told // 50

    def test_looking_closely_leaves_everything_as_it_was(self):
        for dice, hosts in some(40):
            wish = some_machine(dice)
            cluster = Cluster(hosts)
            before, score = set(cluster.survival.failing), cluster.score
            for _, place in rank(cluster, wish):
                cluster.survival.keeps_closely(place, wish)
            assert cluster.survival.failing <= before
            assert cluster.score == pytest.approx(score, abs=1e-7)


class TestEvacuation:
    def test_names_each_machine_with_a_target_that_takes_it_or_the_reasons(self):
        for _dice, hosts in some(40):
            steps = plan_evacuation(hosts, "h0")
            assert sorted(step.machine.id for step in steps) == sorted(one.id for one in hosts[0].machines)
            cluster, before = Cluster(hosts), Cluster(hosts)
            for step in steps:
                if step.target is None:
                    assert len(step.why_not) == len(hosts) - 1
                    continue
                target = cluster.index[step.target]
                assert cluster.refuse(target, step.machine, is_move=True) is None
                cluster.move(step.machine, 0, target)
            assert_within_limits(cluster, before)


class TestBalance:
    def test_each_move_fits_in_its_turn_and_the_score_falls_as_told(self):
        for dice, hosts in some(25):
            with_disks = dice.random() < 0.5
            cluster, before = Cluster(hosts), Cluster(hosts)
            was_failing = len(cluster.survival.failing)
            for move in plan_balance(hosts, most=6, with_disks=with_disks):
                source, target = cluster.index[move.source], cluster.index[move.target]
                assert with_disks or cluster.is_shared(source, move.machine)
                assert not hosts[source].is_silent
                assert cluster.refuse(target, move.machine, is_move=True) is None
                score = cluster.score
                cluster.move(move.machine, source, target)
                assert cluster.score == pytest.approx(move.score, abs=1e-7)
                assert score - cluster.score == pytest.approx(move.gain, abs=1e-7)
            assert cluster.score <= before.score + 1e-7
            cluster.survival.recheck()
            assert len(cluster.survival.failing) <= was_failing
            assert_within_limits(cluster, before)

    def test_an_even_cluster_is_left_alone(self):
        hosts = make(seed=3, count=6, is_shared=True, fill=0.0, wishes=0).hosts
        assert plan_balance(hosts) == []


class TestCapacity:
    def test_is_what_placing_one_after_another_comes_to(self):
        for dice, hosts in some(25, 5):
            wish = some_machine(dice)
            cluster, count = Cluster(hosts), 0
            room = capacity(hosts, wish)
            while order := [place for _, place in rank(cluster, wish)]:
                cluster.charge_shared(wish)
                cluster.put(order[0], dataclasses.replace(wish, id=f"new {count}"))
                count += 1
            assert room.machines == count
            assert room.machines_n1 <= room.machines

    def test_so_many_hosts_may_really_fail(self):
        for _dice, hosts in some(25, 5):
            failing = hosts_may_fail(hosts)
            assert failing <= len(hosts)
            if failing:
                assert all(can_die(hosts, place) for place in range(len(hosts)))

    def test_n1_costs_about_one_host(self):
        hosts = [
            dataclasses.replace(host, is_active=True, is_silent=False, is_draining=False, machines=())
            for host in make(seed=2, count=6, is_shared=True, fill=0.0, wishes=0).hosts
        ]
        room = capacity(hosts, Need(memory_mib=4096, pool="disks"))
        biggest = max(host.memory_free_mib // 4096 for host in hosts)
        assert room.machines - room.machines_n1 >= biggest
        assert room.machines - room.machines_n1 <= biggest + 1


class TestTime:
    def test_one_machine_among_two_hundred_hosts_takes_milliseconds(self):
        world = make(seed=1, count=200, is_shared=True, fill=0.2, wishes=20)
        cluster = Cluster(world.hosts)
        assert cluster.survival.is_safe
        begun = time.process_time()
        for machine in world.wishes:
            placed = pick(cluster, machine, [place for _, place in rank(cluster, machine)])
            cluster.put(placed.place, machine)
        assert (time.process_time() - begun) / 20 < 0.005
        assert cluster.survival.is_safe

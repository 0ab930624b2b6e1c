"""Disk space is promised like memory: counted when placing, refused with a reason, waited for, shown."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests import moves
from tests.fixtures import observe, report
from tests.moves import domain, listens, tell, tell_cleaned
from webxen import env
from webxen.core.errors import UserError
from webxen.diagnostics import verify
from webxen.inventory import queries, space
from webxen.inventory.models import Host, Pool
from webxen.jobs import operations, placing
from webxen.migration.models import Move, MoveSide
from worker import contract

GIB = 1024

OVER = {"go_passed": True, "closed": True, "phase": "REPORTED", "domains": ()}


def promised():
    """MiB by host's name."""
    return dict(Pool.objects.values_list("host__name", "promised_mib"))


def show(host, *pools, now, domains=()):
    moves.show(host, *domains, now=now, pools=pools)


def thin(total=8 * GIB, free=8 * GIB, name="local", id="", kind="FILE"):
    return contract.PoolSeen(name, kind, total, free, id, is_shared=bool(id))


class TestPlacing:
    def test_the_third_disk_waits_although_nothing_was_written_yet(self, order_machine, xen1, now):
        show(xen1, thin(), now=now)
        jobs = [order_machine(f"m{number}", disk_gib=3) for number in range(3)]
        assert [job.status for job in jobs] == ["QUEUED", "QUEUED", "PENDING"]
        assert "xen1: 2 GiB of disk space free and not reserved, 3 GiB needed" in jobs[2].waiting_for

    def test_it_is_placed_once_another_is_deleted(self, order_machine, xen1, alice, mailbox, now):
        show(xen1, thin(), now=now)
        first, _, third = [order_machine(f"m{number}", disk_gib=3) for number in range(3)]
        report(first, "SUCCEEDED", power="RUNNING")
        report(operations.delete_machine(user=alice, machine_id=first.machine_id, now=now), "SUCCEEDED")
        later = now + timedelta(seconds=10)
        show(xen1, thin(), now=later)
        assert operations.sweep(now=later)["placed"] == 1
        third.refresh_from_db()
        assert third.host == xen1

    def test_a_host_that_was_asked_for_refuses_with_the_reason(self, order_machine, xen1, now):
        show(xen1, thin(), now=now)
        with pytest.raises(placing.NoRoomError, match="disk space free and not reserved"):
            order_machine(disk_gib=9, host_name="xen1")

    @pytest.mark.parametrize(("ratio", "fits"), [(1.0, 2), (1.5, 4), (0.5, 1)])
    def test_staff_may_promise_more_or_less(self, order_machine, xen1, settings, now, ratio, fits):
        settings.WEBXEN_DISK_RATIO = ratio
        show(xen1, thin(), now=now)
        jobs = [order_machine(f"m{number}", disk_gib=3) for number in range(5)]
        assert sum(job.status == "QUEUED" for job in jobs) == fits

    def test_free_space_is_respected_whatever_the_ratio(self, order_machine, xen1, settings, now):
        settings.WEBXEN_DISK_RATIO = 10
        show(xen1, thin(free=2 * GIB), now=now)
        assert order_machine(disk_gib=3).status == "PENDING"

    def test_a_volume_of_lvm_counts_once_and_never_beyond_the_size(self, order_machine, xen1, settings, now):
        settings.WEBXEN_DISK_RATIO = 10
        show(xen1, thin(kind="LVM"), now=now)
        report(order_machine("m0", disk_gib=3), "SUCCEEDED", power="RUNNING")
        show(xen1, thin(kind="LVM", free=5 * GIB), now=now + timedelta(seconds=10))  # it is made: 3 GiB gone
        jobs = [order_machine(f"m{number}", disk_gib=size) for number, size in ((1, 5), (2, 1))]
        assert [job.status for job in jobs] == ["QUEUED", "PENDING"]

    def test_a_failed_build_that_was_cleaned_up_promises_nothing(self, order_machine, xen1, now):
        show(xen1, thin(), now=now)
        report(order_machine("m0", disk_gib=6), "FAILED", error_code="NO_LOGIN", power="OFF")
        show(xen1, thin(), now=now + timedelta(seconds=10))
        assert Pool.objects.get().promised_mib == 0
        assert order_machine("m1", disk_gib=6).status == "QUEUED"


class TestSharedPool:
    def test_is_counted_once_over_all_hosts(self, order_machine, xen1, pair, now):
        for host in pair:
            show(host, thin(id="nfs-1"), now=now)
        order_machine("m0", disk_gib=3, host_name="xen1")
        order_machine("m1", disk_gib=2, host_name="xen2")
        for host in pair:
            show(host, thin(id="nfs-1"), now=now + timedelta(seconds=10))
        # web1 of the pair has 1 GiB
        assert sum(Pool.objects.values_list("promised_mib", flat=True)) == 6 * GIB
        found = queries.spaces(pools=Pool.objects.all(), now=now)
        assert {(one.promised_mib, one.left_mib) for one in found.values()} == {(6 * GIB, 2 * GIB)}
        assert order_machine("m2", disk_gib=3).status == "PENDING"
        assert order_machine("m3", disk_gib=2).status == "QUEUED"

    def test_a_move_between_its_hosts_changes_nothing(self, order_machine, pair, web1, start_move, now):
        job = start_move()
        listens(job)
        tell(job, "TARGET", "SUCCEEDED", facts=OVER | {"domains": (domain(web1, seconds=0.1),)})
        tell(job, "SOURCE", "SUCCEEDED", facts=OVER)
        web1.refresh_from_db()
        assert web1.host == pair[1]
        assert promised() == {"xen1": 0, "xen2": GIB}

    def test_the_smallest_size_and_room_that_a_host_tells_count(self, order_machine, pair, now):
        show(pair[0], thin(id="nfs-1"), now=now)
        show(pair[1], thin(id="nfs-1", total=4 * GIB, free=4 * GIB), now=now)
        assert order_machine("m0", disk_gib=4, host_name=None).status == "PENDING"
        assert order_machine("m1", disk_gib=3, host_name=None).status == "QUEUED"

    def test_disks_on_a_silent_host_stay_promised(self, order_machine, pair, now):
        for host in pair:
            show(host, thin(id="nfs-1"), now=now)
        order_machine("m0", disk_gib=5, host_name="xen1")
        show(pair[1], thin(id="nfs-1"), now=now + timedelta(seconds=100))
        (found,) = queries.spaces(pools=pair[1].pools.all(), now=now + timedelta(seconds=100)).values()
        assert found.left_mib == 2 * GIB

    def test_one_host_that_calls_its_pool_shared_takes_nothing_of_anothers(self, order_machine, pair, now):
        show(pair[0], thin(), now=now)
        show(pair[1], thin(id="nfs-1", total=GIB, free=0), now=now)
        assert order_machine("m0", disk_gib=7, host_name="xen1").status == "QUEUED"


class TestColdMove:
    @pytest.fixture
    def apart(self, pair, web1, now):
        for host, seen in zip(pair, ((domain(web1),), ()), strict=True):
            show(host, thin(), domains=seen, now=now)
        return pair

    def test_a_copy_is_promised_until_either_host_has_let_it_go(self, apart, web1, start_move, now):
        job = start_move(method="COLD")
        assert promised() == {"xen1": GIB, "xen2": GIB}
        for host in apart:
            show(host, thin(), now=now + timedelta(seconds=1))
        assert promised() == {"xen1": GIB, "xen2": GIB}
        listens(job)
        there = (domain(web1, seconds=0.1),)
        tell(job, "TARGET", "SUCCEEDED", facts=OVER | {"domains": there, "booted": True})
        tell(job, "SOURCE", "SUCCEEDED", facts=OVER)
        assert promised() == {"xen1": GIB, "xen2": GIB}
        Move.objects.update(discarded_at=now)
        show(apart[0], thin(), now=now + timedelta(seconds=2))
        assert promised() == {"xen1": 0, "xen2": GIB}

    def test_one_that_stayed_has_nothing_promised_on_the_target(self, apart, start_move):
        job = start_move(method="COLD")
        listens(job)
        tell(job, "TARGET", "FAILED", error_code="COPY_DIFFERS", facts={"closed": True, "domains": ()})
        tell(job, "SOURCE", "FAILED", facts={"closed": True, "domains": ()})
        while side := MoveSide.objects.filter(cleaning="ASKED").first():
            tell_cleaned(job, side.side)
        assert promised() == {"xen1": GIB, "xen2": 0}

    def test_a_target_whose_space_is_promised_refuses_with_the_reason(
        self, apart, order_machine, start_move, now
    ):
        order_machine("m0", disk_gib=8, host_name="xen2")
        with pytest.raises(UserError, match="0 MiB free and not reserved in its pool local, 1 GiB needed"):
            start_move(method="COLD")
        assert promised() == {"xen1": GIB, "xen2": 8 * GIB}


class TestCounting:
    def test_placing_asks_as_much_with_many_machines_as_with_few(self, order_machine, xen1, now):
        show(xen1, thin(total=80 * GIB, free=80 * GIB), now=now)
        asked = []
        for number in range(6):
            with CaptureQueriesContext(connection) as context:
                assert order_machine(f"m{number}").status == "QUEUED"
            asked.append(len(context.captured_queries))
        assert len(set(asked[1:])) == 1

    def test_a_space_that_was_just_taken_keeps_no_memory(self, order_machine, xen1, now):
        show(xen1, thin(), now=now)
        machine = order_machine("m0", disk_gib=3).machine
        before = Host.objects.get().memory_reserved_mib
        figures = placing.figures(now=now)
        Pool.objects.update(promised_mib=8 * GIB)
        choice = placing.choose(figures, placing.need_of(machine))
        assert choice.host == "xen1"
        assert not placing.hold(host=xen1, need=placing.need_of(machine), now=now)
        assert Host.objects.get().memory_reserved_mib == before

    def test_an_observation_sets_right_what_was_wrong(self, web1, xen1, now):
        Pool.objects.update(promised_mib=999_999)
        observe(xen1, now=now + timedelta(seconds=10))
        assert Pool.objects.get().promised_mib == GIB

    def test_the_last_space_is_promised_once(self, xen1, now):
        show(xen1, thin(total=4 * GIB, free=4 * GIB), now=now)
        wanted = {"host_id": xen1.id, "sizes": {"local": 3 * GIB}, "now": now}
        assert space.promise(**wanted) == []
        assert space.promise(**wanted) == ["local"]
        assert space.promise(**wanted | {"sizes": {"local": 1, "nowhere": 1}}) == ["nowhere"]
        assert Pool.objects.get().promised_mib == 3 * GIB


class TestRatio:
    @pytest.mark.parametrize("given", ["0", "-1", "many", "nan", "1000"])
    def test_what_is_no_ratio_is_refused_with_an_example(self, monkeypatch, given):
        monkeypatch.setenv("WEBXEN_DISK_RATIO", given)
        with pytest.raises(env.SettingError, match=r"use a number above 0 and below 1000, like 1\.5"):
            env.ratio("WEBXEN_DISK_RATIO", 1.0)

    def test_a_fraction_is_one(self, monkeypatch):
        monkeypatch.setenv("WEBXEN_DISK_RATIO", "1.5")
        assert env.ratio("WEBXEN_DISK_RATIO", 1.0) == 1.5


class TestStaffIsTold:
    @pytest.mark.parametrize(
        ("free", "code"), [(2 * GIB, None), (1600, "POOL_FILLING"), (800, "POOL_FULL"), (0, "POOL_FULL")]
    )
    def test_by_verify_and_on_the_hosts_page(self, xen1, client, dana, now, free, code):
        show(xen1, thin(free=free), now=now)
        found = [one.code for one in verify.verify(host=None, fixed_by=None, now=now).findings]
        assert [one for one in found if one.startswith("POOL_F")] == ([code] if code else [])
        client.force_login(dana)
        page = client.get("/hosts/xen1/").content.decode()
        assert ("is used or allocated" in page) == bool(code)
        assert ("free space" in page) == (code == "POOL_FULL")

    def test_what_is_promised_is_on_the_page_and_in_the_api(self, web1, xen1, client, dana, now):
        observe(xen1, now=now + timedelta(seconds=10))
        client.force_login(dana)
        assert "allocated to machines" in client.get("/hosts/xen1/").content.decode()
        (pool,) = client.get("/api/v1/hosts/xen1/").json()["pools"]
        assert (pool["promised_mib"], pool["limit_mib"]) == (GIB, 200 * GIB)

    def test_a_promise_alone_is_enough(self, xen1, now):
        show(xen1, thin(), now=now)
        Pool.objects.update(promised_mib=7 * GIB)
        codes = {one.code for one in verify.verify(host=None, fixed_by=None, now=now).findings}
        assert "POOL_FILLING" in codes
        (found,) = queries.spaces(pools=Pool.objects.all(), now=now).values()
        assert found.left_mib == GIB

"""Pages of very many machines and hosts: as many queries whatever there is, and what they show stays true."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.template.loader import render_to_string
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext

from webxen.accounts.models import User
from webxen.core import clock
from webxen.diagnostics import fleet_look
from webxen.diagnostics.verify import look_at_host, verify
from webxen.fleet import plans
from webxen.inventory.models import Host, Pool
from webxen.inventory.placement import Need
from webxen.jobs import placing
from webxen.machines.models import Disk, Interface, Machine
from webxen.web import paging

Browser = Callable[[User], Client]
Grow = Callable[[int, int], None]


@pytest.fixture
def grow(xen1: Any, web1: Machine, lan: Any) -> Grow:
    """Add so many hosts with so many machines each, as alike as they can be."""

    def grow(hosts: int, each: int) -> None:
        first, now = Host.objects.count(), clock.now()
        heard = {"observed_at": now, "created_at": now, "memory_mib": 1 << 20, "state": "ACTIVE"}
        kept = {"bridges": ["xenbr0"], "domains": [], "facts": {"nr_cpus": "64"}}
        new = [
            Host(
                name=f"h{first + number}",
                public_key="",
                memory_reserved_mib=128 * each,
                relay_certificate="x",
                relay_address="10.0.0.1",
                **heard,
                **kept,
            )
            for number in range(hosts)
        ]
        Host.objects.bulk_create(new)
        Pool.objects.bulk_create(
            Pool(host=host, name="local", kind="FILE", total_mib=1 << 20, free_mib=1 << 20) for host in new
        )
        machines = [
            Machine(
                name=f"{host.name}-{number}",
                project=web1.project,
                owner=web1.owner,
                host=host,
                image=web1.image,
                state="READY",
                power="OFF",
                vcpus=1,
                memory_mib=128,
                fence=1,
                created_at=now - timedelta(seconds=number),
            )
            for host in new
            for number in range(each)
        ]
        Machine.objects.bulk_create(machines)
        Disk.objects.bulk_create(Disk(machine=one, size_gib=1, vdev="xvda") for one in machines)
        Interface.objects.bulk_create(
            Interface(machine=one, network=lan, mac=str(one.id)[:17]) for one in machines
        )

    return grow


def queries_of(client: Client, path: str) -> int:
    with CaptureQueriesContext(connection) as asked:
        answer = client.get(path)
    assert answer.status_code == 200, path
    return len(asked)


PATHS = (
    "/",
    "/machines/",
    "/machines/?q=h1",
    "/machines/?power=OFF&sort=name",
    "/machines/new/",
    "/jobs/",
    "/quota/?project=lab",
    "/approvals/",
    "/hosts/",
    "/hosts/h3/",
    "/hosts/h3/drain/",
    "/hosts/h3/drain/?shut_down=1",
    "/hosts/h4/restart-elsewhere/",
    "/balance/",
    "/differences/",
    "/differences/?host=h3",
    "/machines/ID/move/",
    "/machines/ID/",
    "/api/v1/machines/",
    "/api/v1/balance/",
    "/api/v1/hosts/h3/drain/",
    "/api/v1/machines/ID/migrate/",
)


class TestQueries:
    def test_are_as_many_with_twice_the_hosts_and_machines(
        self, as_: Browser, dana: User, web1: Machine, grow: Grow
    ) -> None:
        machine = ""

        def ask() -> dict[str, int]:
            fleet_look.compare_all(now=clock.now())
            plans.keep_proposals(now=clock.now())
            client = as_(dana)
            return {path: queries_of(client, path.replace("ID", machine)) for path in PATHS}

        grow(55, 10)
        machine = str(Machine.objects.get(name="h3-0").id)
        Host.objects.filter(name="h4").update(observed_at=clock.now() - timedelta(days=1))
        before = ask()
        grow(55, 10)
        assert ask() == before

    def test_of_a_person_are_as_many_too(self, as_: Browser, alice: User, grow: Grow) -> None:
        paths = ("/", "/machines/", "/machines/?q=h1", "/machines/new/", "/jobs/", "/quota/?project=lab")
        grow(55, 10)
        before = {path: queries_of(as_(alice), path) for path in paths}
        grow(55, 10)
        assert {path: queries_of(as_(alice), path) for path in paths} == before


class TestDifferences:
    def test_are_told_with_the_time_once_the_clock_has_compared(
        self, as_: Browser, dana: User, xen1: Any, grow: Grow
    ) -> None:
        grow(51, 10)
        client = as_(dana)
        assert "have not been compared yet" in client.get("/differences/").content.decode()
        Host.objects.filter(name="h3").update(memory_reserved_mib=1)
        fleet_look.compare_all(now=clock.now() - timedelta(minutes=4))
        page = client.get("/differences/").content.decode()
        assert "HOST_MEMORY_DRIFT" in page
        assert re.search(r"Compared .*4\s+minutes ago", page)

    def test_of_one_host_are_told_as_of_now(self, as_: Browser, dana: User, grow: Grow) -> None:
        grow(51, 10)
        fleet_look.compare_all(now=clock.now())
        Host.objects.filter(name="h3").update(memory_reserved_mib=1)
        client = as_(dana)
        page = client.get("/differences/?host=h3").content.decode()
        assert "1 MiB of memory are reserved on h3" in page
        assert "Only h3 was looked at" in page
        assert "1 MiB of memory are reserved on h3" not in client.get("/differences/").content.decode()
        assert client.get("/differences/?host=nobody").status_code == 404

    def test_of_one_host_are_those_that_all_hosts_show_of_it(self, xen1: Any, web1: Machine) -> None:
        Host.objects.update(memory_reserved_mib=1)
        Machine.objects.filter(id=web1.id).update(fence=0, power="RUNNING")
        xen1.refresh_from_db()
        now = clock.now()
        told = {finding.said for finding in verify(host="xen1", fixed_by=None, now=now).findings}
        own = {finding.said for finding in look_at_host(host=xen1, now=now).findings}
        assert own
        assert own <= told

    def test_kept_ones_are_those_that_were_found(self, grow: Grow, xen1: Any) -> None:
        grow(51, 10)
        Host.objects.filter(name="h3").update(memory_reserved_mib=1)
        now = clock.now()
        found = verify(host=None, fixed_by=None, now=now)
        fleet_look.compare_all(now=now)
        look = fleet_look.look(now=now + timedelta(hours=1))
        assert look.at == now
        assert look.summary == found.summary
        assert [one.code for one in look.groups] == list(dict.fromkeys(one.code for one in found.findings))
        shown = [finding for group in look.groups for finding in group.shown]
        assert set(shown) <= set(found.findings)


class TestForecast:
    def test_takes_an_empty_host_of_many(self, grow: Grow, now: Any) -> None:
        grow(60, 1)
        Host.objects.filter(name="h50").update(memory_reserved_mib=0)
        choice = placing.Forecast(now=clock.now()).choose(Need(memory_mib=512, pool="local"))
        assert choice.host == "h50"
        assert len(choice.verdicts) <= 50

    def test_looks_on_where_the_emptiest_hosts_lack_something_else(self, grow: Grow) -> None:
        grow(120, 1)
        Host.objects.exclude(name="h119").update(bridges=[])
        Host.objects.filter(name="h119").update(memory_reserved_mib=4096)
        need = Need(memory_mib=512, pool="local", bridge="xenbr0")
        assert placing.Forecast(now=clock.now()).choose(need).host == "h119"

    def test_says_why_where_no_host_has_the_memory(self, grow: Grow) -> None:
        grow(60, 1)
        choice = placing.Forecast(now=clock.now()).choose(Need(memory_mib=1 << 22, pool="local"))
        assert choice.host is None
        assert "of memory free" in choice.explain()


class TestBalance:
    def test_shows_what_the_clock_has_planned(self, as_: Browser, dana: User, grow: Grow) -> None:
        grow(51, 10)
        client = as_(dana)
        assert "No plan has been made yet" in client.get("/balance/").content.decode()
        plans.keep_proposals(now=clock.now() - timedelta(minutes=4))
        page = client.get("/balance/").content.decode()
        assert re.search(r"Planned .*4\s+minutes ago", page)


class TestLongLists:
    def test_end_somewhere_and_say_so(self, grow: Grow) -> None:
        grow(3, 50)
        few = type("Few", (paging.LongList,), {"most_rows": 100})(Machine.objects.order_by("name"), 40)
        last = few.get_page("99")
        assert (few.count, few.num_pages, few.is_cut) == (100, 3, True)
        assert len(last.object_list) == 20
        page = render_to_string("web/parts/pages.html", {"page_obj": last}, RequestFactory().get("/"))
        assert "only the first 100 can be leafed through" in page

    def test_hold_each_row_once_in_its_order(self, as_: Browser, alice: User, grow: Grow) -> None:
        grow(3, 50)
        names = [
            machine.name
            for number in (1, 2, 3, 4)
            for machine in as_(alice).get(f"/machines/?sort=name&page={number}").context["machines"]
        ]
        assert names == sorted(Machine.objects.values_list("name", flat=True))

"""Machines as placement sees them."""

from dataclasses import replace
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.fixtures import NOW
from webxen.inventory.models import Host
from webxen.jobs import placing
from webxen.machines.figures import figures_by_host
from webxen.machines.models import Machine


class TestFigures:
    def test_are_those_of_the_machines_that_hold_memory(self, web1: Machine, xen1: Host) -> None:
        (seen,) = figures_by_host()[xen1.id]
        assert (seen.id, seen.memory_mib, seen.vcpus) == (str(web1.id), web1.memory_mib, web1.vcpus)
        assert seen.disk_mib == sum(disk.size_gib for disk in web1.disks.all()) * 1024
        Machine.objects.filter(id=web1.id).update(state="DELETED")
        assert figures_by_host() == {}

    def test_a_tag_keeps_machines_of_one_project_apart(self, web1: Machine, xen1: Host) -> None:
        Machine.objects.filter(id=web1.id).update(tags=["apart:web"])
        (seen,) = figures_by_host()[xen1.id]
        assert seen.group.startswith("web (")
        web1.refresh_from_db()
        assert placing.need_of(web1).group == seen.group

    @pytest.mark.parametrize("look", [placing.figures, placing.figures_of_each])
    def test_cost_the_same_number_of_queries_however_many(
        self, look: Any, web1: Machine, make_machine: Any
    ) -> None:
        counts = []
        for name in ("web2", "web3"):
            make_machine(name)
            with CaptureQueriesContext(connection) as asked:
                (host,) = look(now=NOW)
            counts.append(len(asked))
            assert host.machines
            assert host.cpus >= 0
        assert counts[0] == counts[1] < 12

    def test_sums_place_a_machine_where_all_of_them_would(self, web1: Machine, make_machine: Any) -> None:
        make_machine("web2")
        Machine.objects.filter(id=web1.id).update(tags=["apart:web"])
        need = placing.need_of(Machine.objects.get(name="web2"))
        for group in ("", *(one.group for one in figures_by_host()[web1.host_id] if one.group)):
            wish = replace(need, group=group)
            of_sums = placing.choose(placing.figures(now=NOW), wish)
            of_each = placing.choose(placing.figures_of_each(now=NOW), wish)
            assert of_sums == of_each
            assert (of_sums.host is None) == bool(group)

"""Machines as placement sees them."""

from typing import Any

from tests.people import NOW
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

    def test_cost_the_same_number_of_queries_however_many(
        self, web1: Machine, xen1: Host, django_assert_num_queries: Any
    ) -> None:
        with django_assert_num_queries(6):
            (host,) = placing.figures(now=NOW)
        assert host.machines
        assert host.cpus >= 0

"""What a host sees of its machines is written in bulk: as many statements for many machines as for one."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.fixtures import observe
from webxen.machines.models import Machine
from worker import contract


def seen(machine, power):
    name = f"{machine.name}-{machine.id.hex[:8]}"
    return contract.DomainSeen(name, str(machine.id), 7, power, machine.memory_mib, 1, 9.0)


@pytest.fixture
def fleet(make_machine):
    return [make_machine(f"m{number}") for number in range(3)]


@pytest.fixture
def later(now):
    """The jobs that made the machines have ended a while ago."""
    return now + timedelta(minutes=1)


def updates_of_power(xen1, machines, now):
    with CaptureQueriesContext(connection) as asked:
        observe(xen1, domains=tuple(seen(machine, "RUNNING") for machine in machines), now=now)
    words = ('UPDATE "machines_machine"', '"power"')
    return [one["sql"] for one in asked.captured_queries if all(word in one["sql"] for word in words)]


class TestPower:
    def test_is_one_update_for_all_machines_with_the_same(self, fleet, xen1, later):
        assert len(updates_of_power(xen1, fleet, later)) == 1
        assert set(Machine.objects.values_list("power", "power_seen_at")) == {("RUNNING", later)}

    def test_is_kept_for_each_as_it_was_seen(self, fleet, xen1, later):
        powers = ("RUNNING", "PAUSED", "RUNNING")
        observe(xen1, domains=tuple(map(seen, fleet, powers)), now=later)
        assert [Machine.objects.get(id=one.id).power for one in fleet] == list(powers)

    def test_is_lost_for_all_where_the_list_cannot_be_read(self, fleet, xen1, later):
        observe(xen1, domains=None, now=later)
        assert set(Machine.objects.values_list("power", "last_power")) == {("UNKNOWN", "RUNNING")}

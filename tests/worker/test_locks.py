"""The lease volume of a shared group: its slots, and hosts that change the group one at a time."""

import threading
import time
from pathlib import Path

import pytest

from worker.errors import LeaseUnreadable, PoolBusy, PoolMisconfigured
from worker.storage import lease
from worker.storage.area import AREA_BYTES, FIRST_LEASE, SLOT_BYTES, Area
from worker.storage.lease import Lease
from worker.storage.lease_store import GroupLeases
from worker.storage.locks import Turns

POOL = "Pd4Mrl-WbnM-wRnv-0PCS-6JVn-pnWx-7fEnbC"
MACHINE, OTHER = (f"{digit * 8}-2222-3333-4444-555555555555" for digit in "19")


@pytest.fixture
def area(tmp_path: Path) -> Area:
    path = tmp_path / "webxen-leases"
    with path.open("wb") as out:
        out.truncate(AREA_BYTES)
    made = Area(path)
    made.format(POOL)
    return made


def turns_of(area: Area, number: int, *, host: str = "") -> Turns:
    name = host or f"xen{number}"
    return Turns(area, pool="shared", host=name, number=number, lock=area.path.with_name(f"{name}.lock"))


class TestSlots:
    def test_a_lease_is_found_again_and_its_slot_is_used_again(self, area: Area) -> None:
        book = GroupLeases(area, turns_of(area, 1))
        book.write(Lease(MACHINE, "xen1", 1))
        book.write(Lease(OTHER, "xen2", 2))
        book.write(Lease(MACHINE, "xen1", 3, heir="xen2"))
        assert book.all() == {
            MACHINE: Lease(MACHINE, "xen1", 3, heir="xen2"),
            OTHER: Lease(OTHER, "xen2", 2),
        }
        book.drop(MACHINE)
        assert book.read(MACHINE) is None
        # and where another host has made a new one meanwhile
        elsewhere = Lease(MACHINE, "xen2", 4)
        area.write(FIRST_LEASE + 7, lease.to_bytes(elsewhere))
        assert book.read(MACHINE) == elsewhere
        assert area.leases().first_free() == FIRST_LEASE

    def test_another_host_sees_it_at_once(self, area: Area) -> None:
        GroupLeases(area, turns_of(area, 1)).write(Lease(MACHINE, "xen1", 1))
        there = GroupLeases(Area(area.path), turns_of(area, 2))
        assert there.read(MACHINE) == Lease(MACHINE, "xen1", 1)

    def test_a_broken_slot_is_not_nobodys(self, area: Area) -> None:
        book = GroupLeases(area, turns_of(area, 1))
        book.write(Lease(MACHINE, "xen1", 1))
        area.write(FIRST_LEASE + 1, b"half a record")
        assert book.read(MACHINE) == Lease(MACHINE, "xen1", 1)
        # It may be this machine's: then nobody may start it.
        with pytest.raises(LeaseUnreadable):
            book.read(OTHER)
        assert area.leases().first_free() == FIRST_LEASE + 2

    def test_a_device_of_another_pool_is_refused(self, area: Area) -> None:
        area.check(POOL)
        with pytest.raises(PoolMisconfigured):
            area.check("another")
        area.write(0, b"")
        with pytest.raises(PoolMisconfigured):
            area.check(POOL)

    def test_every_slot_can_be_used(self, area: Area) -> None:
        last = AREA_BYTES // SLOT_BYTES - 1
        area.write(last, lease.to_bytes(Lease(MACHINE, "xen1", 1)))
        assert area.leases().index_of(MACHINE) == last


class TestTurns:
    def test_hosts_change_the_group_one_at_a_time(self, area: Area) -> None:
        inside: list[int] = []
        most: list[int] = []

        def host(number: int) -> None:
            for _ in range(6):
                with turns_of(area, number).taken("lvcreate"):
                    inside.append(number)
                    most.append(len(inside))
                    time.sleep(0.002)
                    inside.remove(number)

        threads = [threading.Thread(target=host, args=(number,)) for number in (1, 2, 3, 63)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert most == [1] * 24

    def test_a_host_that_died_in_its_turn_lets_nobody_past(self, area: Area) -> None:
        dead = turns_of(area, 2)
        dead._draw("lvcreate webxen-1")  # and no more is heard of it
        with pytest.raises(PoolBusy) as caught, turns_of(area, 1).taken("lvremove", wait_seconds=0.3):
            pass
        assert "xen2 has been changing the pool shared since" in str(caught.value)
        assert "lvcreate webxen-1" in str(caught.value)
        # Who gave up is not in the way of others.
        assert turns_of(area, 1).forget("xen2")
        with turns_of(area, 3).taken("lvremove", wait_seconds=0.3):
            pass

    def test_a_host_that_comes_back_keeps_the_number_it_died_with(self, area: Area) -> None:
        first = turns_of(area, 1)._draw("lvcreate")
        assert turns_of(area, 1)._draw("lvremove") == first
        turns_of(area, 1).tidy()
        with turns_of(area, 2).taken("lvcreate", wait_seconds=0.3):
            pass

    def test_a_turn_ends_with_an_error_too(self, area: Area) -> None:
        with pytest.raises(ValueError, match="lvm"), turns_of(area, 1).taken("lvcreate"):
            raise ValueError("lvm")
        with turns_of(area, 2).taken("lvcreate", wait_seconds=0.3):
            pass

    def test_a_slot_that_is_being_written_is_waited_for(self, area: Area) -> None:
        area.write(2, b"0badc0de {}")
        with pytest.raises(PoolBusy), turns_of(area, 1).taken("lvcreate", wait_seconds=0.3):
            pass

    def test_two_hosts_with_one_number_are_found_out(self, area: Area) -> None:
        with turns_of(area, 1).taken("lvcreate"):
            pass
        with pytest.raises(PoolMisconfigured, match="Number 1 of the pool shared belongs to xen1"):
            turns_of(area, 1, host="xen9").tidy()

    @pytest.mark.parametrize("number", [0, 64])
    def test_a_host_without_a_number_changes_nothing(self, area: Area, number: int) -> None:
        with pytest.raises(PoolMisconfigured, match="WEBXEN_HOST_NUMBER"):
            turns_of(area, number, host="xen1").tidy()

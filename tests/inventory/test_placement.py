"""Choosing a host: pure, over plain numbers."""

import dataclasses

import pytest

from webxen.inventory.placement import HostFigures, Need, choose_host, why_not

NEED = Need(memory_mib=512, disk_mib=1024, image_file="minimal", image_sha256="aa", bridge="xenbr0")


def host(name="xen1", **changed):
    good = HostFigures(
        name=name,
        is_active=True,
        is_silent=False,
        memory_free_mib=1024,
        pools={"local": 4096},
        bridges=("xenbr0",),
        images={"minimal": "aa"},
    )
    return dataclasses.replace(good, **changed)


class TestWhyNot:
    def test_a_host_with_room_is_fine(self):
        assert why_not(host(), NEED) == ""

    def test_exactly_enough_is_enough(self):
        assert why_not(host(memory_free_mib=512, pools={"local": 1024}), NEED) == ""

    @pytest.mark.parametrize(
        ("changed", "why"),
        [
            ({"is_active": False}, "does not accept new machines"),
            ({"is_silent": True}, "is not responding"),
            ({"memory_free_mib": 511}, "511 MiB of memory free, 512 MiB needed"),
            ({"memory_free_mib": -5}, "0 MiB of memory free, 512 MiB needed"),
            ({"pools": {}}, "has no storage pool local"),
            ({"pools": {"local": 1023}}, "1023 MiB of disk space free and not reserved, 1 GiB needed"),
            ({"bridges": ()}, "has no bridge xenbr0"),
            ({"images": {"minimal": "bb"}}, "its copy of image minimal differs from the registered one"),
        ],
    )
    def test_says_what_is_missing(self, changed, why):
        assert why_not(host(**changed), NEED) == why

    def test_a_host_that_has_not_checked_the_image_is_asked(self):
        assert why_not(host(images={}), NEED) == ""

    def test_a_machine_without_a_network_needs_no_bridge(self):
        assert why_not(host(bridges=()), dataclasses.replace(NEED, bridge="")) == ""


class TestChooseHost:
    def test_takes_the_one_with_most_free_memory(self):
        hosts = [host("xen1"), host("xen2", memory_free_mib=2048)]
        assert choose_host(hosts, NEED).host == "xen2"

    def test_the_name_settles_a_tie(self):
        assert choose_host([host("xen2"), host("xen1")], NEED).host == "xen1"

    def test_looks_only_at_the_wanted_one(self):
        hosts = [host("xen1", memory_free_mib=1), host("xen2")]
        assert choose_host(hosts, NEED, wanted="xen2").host == "xen2"
        refused = choose_host(hosts, NEED, wanted="xen1")
        assert refused.host is None
        assert (
            refused.explain()
            == "No host has enough free capacity: xen1: 1 MiB of memory free, 512 MiB needed."
        )

    def test_says_the_reason_of_every_host(self):
        choice = choose_host([host("xen1", is_silent=True), host("xen2", is_active=False)], NEED)
        assert choice.host is None
        assert choice.explain() == (
            "No host has enough free capacity: xen1: is not responding; xen2: does not accept new machines."
        )

    def test_says_when_there_is_no_host_at_all(self):
        assert choose_host([], NEED).explain() == "No hosts have been added yet."

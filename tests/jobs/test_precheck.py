"""What is in the way of a move, and how long it would take: judged from plain values."""

from dataclasses import replace

import pytest

from webxen.jobs.precheck import Place, Traveller, check, common_level, features

CAPS = "1fc9cbf5:f6f83203:2991ca77:00000121:0000000f:219c07a9:0040068c:00000300"
FACTS = {"machine": "x86_64", "hw_caps": CAPS, "virt_caps": "pv hvm hap", "xen_major": "4", "xen_minor": "20"}
HERE = Place("xen1", facts=FACTS, bridges=frozenset({"xenbr0"}), pools={"local": "nfs"}, memory_free_mib=100)
THERE = replace(HERE, name="xen2", memory_free_mib=4096)
WEB1 = Traveller("id-1", "web1-abc", 1024, "PVH", ("xenbr0",), ("local",))


def judge(target=THERE, *, source=HERE, machine=WEB1, **options):
    return check(source=source, target=target, machine=machine, **options)


def facts(**changed):
    return FACTS | changed


class TestCheck:
    def test_a_host_that_is_alike_fits_and_the_machine_moves_live(self):
        fit = judge()
        assert (fit.fits, fit.method, fit.reasons, fit.warnings) == (True, "LIVE", (), ())

    @pytest.mark.parametrize(
        ("changed", "why"),
        [
            ({"is_accepting": False}, "takes no machines"),
            ({"is_silent": True}, "not been heard of"),
            ({"has_relay": False}, "shown no relay"),
            ({"memory_free_mib": 1023}, "1023 MiB memory free, 1024 MiB needed"),
            ({"bridges": frozenset({"xenbr1"})}, "no bridge xenbr0"),
            ({"pools": {"local": "another"}}, "of xen1 alone: they would have to be copied"),
            ({"pools": {"local": ""}}, "would have to be copied"),
            ({"pools": {}}, "no pool named local"),
            ({"domains": frozenset({"web1-abc"})}, "there already"),
            ({"domains": frozenset({"web1-abc--incoming"})}, "there already"),
            ({"domains": frozenset({"id-1"})}, "there already"),
            ({"domains": None}, "could not read its list"),
            ({"facts": facts(virt_caps="pv")}, "cannot run PVH guests"),
            ({"facts": facts(machine="aarch64")}, "It is aarch64"),
            ({"facts": facts(xen_minor="19")}, "Xen 4.19 is older than 4.20 of xen1"),
            ({"facts": facts(xen_minor="21")}, "could not move back"),
            # bit 4 of word 0 is gone
            ({"facts": facts(hw_caps=CAPS.replace("1fc9cbf5", "1fc9cbe5"))}, r"lacks 1 features .* 0\.4"),
        ],
    )
    def test_names_what_is_in_the_way(self, changed, why):
        import re

        (reason,) = judge(replace(THERE, **changed)).reasons
        assert re.search(why, reason)

    def test_names_everything_at_once(self):
        assert len(judge(replace(THERE, is_silent=True, memory_free_mib=0, bridges=frozenset())).reasons) == 3

    def test_a_silent_source_can_send_nothing(self):
        assert "xen1, where the machine is" in judge(source=replace(HERE, is_silent=True)).reasons[0]

    def test_two_pools_without_an_id_are_two_pools(self):
        assert not judge(replace(THERE, pools={"local": ""}), source=replace(HERE, pools={"local": ""})).fits

    def test_a_pv_guest_stands_still_for_as_long_as_its_memory_takes(self):
        fit = judge(machine=replace(WEB1, type="PV"), rate_mib_s=128.0)
        assert (fit.fits, fit.method, fit.away_seconds) == (True, "SUSPENDED", 11.0)
        assert "Failed to enable logdirty" in fit.method_why

    def test_a_live_one_for_a_moment(self):
        assert judge(rate_mib_s=128.0).expected_seconds == 11.0
        assert judge().away_seconds < 1


class TestWayBack:
    def test_a_newer_xen_is_taken_only_knowingly(self):
        newer = replace(THERE, facts=facts(xen_minor="21"))
        assert judge(newer).is_one_way
        fit = judge(newer, one_way_is_fine=True)
        assert (fit.fits, fit.is_one_way, len(fit.warnings)) == (True, True, 1)

    def test_more_features_there_are_a_way_without_return(self):
        more = replace(THERE, facts=facts(hw_caps=CAPS.replace("0000000f", "0000001f")))
        assert not judge(more).fits
        assert judge(more, one_way_is_fine=True).fits

    def test_a_bit_that_the_kernel_sets_says_nothing(self):
        other = CAPS.replace("f6f83203", "fef83203")
        assert features({"hw_caps": other}) == features({"hw_caps": CAPS})

    def test_an_unsaid_processor_is_a_warning(self):
        assert "did not say" in judge(replace(THERE, facts=facts(hw_caps=""))).warnings[0]

    def test_the_common_level_is_what_all_have(self):
        fewer = replace(THERE, facts=facts(hw_caps=CAPS.replace("0000000f", "00000003")))
        assert common_level((HERE, fewer))[4] == 3
        assert common_level(()) == ()

"""What is in the way of a move, and how long it would take: judged from plain values."""

from dataclasses import replace

import pytest

from webxen.inventory.cpu_feature_names import NAMES, name_of
from webxen.inventory.cpu_levels import features, hidden_at_boot
from webxen.migration.precheck import DiskToCopy, MigratingMachine, Place, check

CAPS = "1fc9cbf5:f6f83203:2991ca77:00000121:0000000f:219c07a9:0040068c:00000300"
FACTS = {"machine": "x86_64", "hw_caps": CAPS, "virt_caps": "pv hvm hap", "xen_major": "4", "xen_minor": "20"}
HERE = Place("xen1", facts=FACTS, bridges=frozenset({"xenbr0"}), pools={"local": "nfs"}, memory_free_mib=100)
THERE = replace(HERE, name="xen2", memory_free_mib=4096)
DISK = DiskToCopy("root", "local", 10240)
WEB1 = MigratingMachine("id-1", "web1-abc", 1024, "PVH", ("xenbr0",), (DISK,), ("vmlinuz",))


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
            ({"is_accepting": False}, "does not accept machines"),
            ({"is_silent": True}, "not responding"),
            ({"has_relay": False}, "reports no migration relay"),
            ({"memory_free_mib": 1023}, "1023 MiB of memory free, 1 GiB needed"),
            ({"bridges": frozenset({"xenbr1"})}, "no bridge xenbr0"),
            ({"pools": {}}, "no storage pool local"),
            ({"kernels": frozenset({"vmlinuz-2"})}, "no kernel vmlinuz"),
            ({"domains": frozenset({"web1-abc"})}, "already has a domain"),
            ({"domains": frozenset({"web1-abc--incoming"})}, "already has a domain"),
            ({"domains": frozenset({"id-1"})}, "already has a domain"),
            ({"domains": None}, "could not read its list"),
            ({"facts": facts(virt_caps="pv")}, "cannot run PVH machines"),
            ({"facts": facts(machine="aarch64")}, "It is aarch64"),
            ({"facts": facts(xen_minor="19")}, "Xen 4.19 is older than 4.20 of xen1"),
            ({"facts": facts(xen_minor="21")}, "could not move back"),
            # bit 4 of word 0 is gone
            (
                {"facts": facts(hw_caps=CAPS.replace("1fc9cbf5", "1fc9cbe5"))},
                r"lacks 1 feature of xen1 \(tsc\)",
            ),
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

    def test_shared_files_do_not_move_under_a_running_machine(self):
        fit = judge(source=replace(HERE, file_pools=frozenset({"local"})))
        assert (fit.method, fit.copied, fit.needs_shutdown) == ("COLD", (), True)
        assert "files in pool local" in fit.method_why
        assert judge(source=replace(HERE, file_pools=frozenset({"other"}))).method == "LIVE"

    def test_two_pools_without_an_id_are_two_pools(self):
        assert cold(source=replace(HERE, pools={"local": ""})).method == "COLD"

    def test_a_pv_guest_stands_still_for_as_long_as_its_memory_takes(self):
        fit = judge(machine=replace(WEB1, type="PV"), rate_mib_s=128.0)
        assert (fit.fits, fit.method, fit.away_seconds) == (True, "SUSPENDED", 11.0)
        assert "shadow paging" in fit.method_why

    def test_a_live_one_for_a_moment(self):
        assert judge(rate_mib_s=128.0).expected_seconds == 11.0
        assert judge().away_seconds < 1


def cold(target=None, **options):
    """Each host has a pool of its own, of the same name."""
    apart = {"pools": {"local": ""}, "pool_free_mib": {"local": 20480}}
    return judge(replace(target or THERE, **apart), **options)


class TestCold:
    def test_disks_of_one_host_are_copied_while_it_is_off_and_for_how_long_is_said(self):
        fit = cold(rate_mib_s=100.0)
        assert (fit.fits, fit.method, fit.copied, fit.needs_shutdown) == (True, "COLD", ("root",), True)
        assert "pool local of xen1 only" in fit.method_why
        # carried over, read back, a little of everything, and a boot
        # copied while it runs; then both hosts read all of it
        assert (fit.expected_seconds, fit.away_seconds) == (237.8, 135.4)

    def test_one_that_is_off_is_not_shut_down_for_it(self):
        fit = cold(machine=replace(WEB1, is_off=True), rate_mib_s=100.0)
        assert (fit.method, fit.needs_shutdown, fit.away_seconds) == ("COLD", False, 0.0)
        assert fit.expected_seconds == 156.6

    def test_where_both_see_the_disks_they_stay_where_they_are(self):
        fit = judge(machine=replace(WEB1, is_off=True))
        assert (fit.method, fit.copied, fit.expected_seconds) == ("COLD", (), 3.0)

    def test_only_those_that_the_target_does_not_see_are_copied(self):
        both = {"san": "vg-1", "local": ""}
        here, there = (replace(place, pools=both, pool_free_mib={"local": 99999}) for place in (HERE, THERE))
        disks = (DiskToCopy("root", "san", 10240), DiskToCopy("data", "local", 5120))
        assert judge(there, source=here, machine=replace(WEB1, disks=disks)).copied == ("data",)

    @pytest.mark.parametrize(
        ("changed", "why"),
        [
            ({"pool_free_mib": {"local": 10239}}, "9.999 GiB free and not reserved in its pool local"),
            ({"pools": {}}, "no storage pool local"),
            ({"kernels": frozenset()}, "no kernel vmlinuz"),
            ({"kept": frozenset({"id-1"})}, "still has the machine's disks from an earlier move"),
            ({"memory_free_mib": 1023}, "1023 MiB of memory free"),
            ({"bridges": frozenset()}, "no bridge xenbr0"),
            ({"has_relay": False}, "reports no migration relay"),
            ({"domains": frozenset({"id-1"})}, "already has a domain"),
            ({"facts": facts(machine="aarch64")}, "It is aarch64"),
        ],
    )
    def test_names_what_is_in_the_way(self, changed, why):
        apart = replace(THERE, pools={"local": ""}, pool_free_mib={"local": 20480})
        (reason,) = judge(replace(apart, **changed)).reasons
        assert why in reason

    def test_another_processor_or_xen_is_no_hindrance(self):
        other = facts(xen_minor="19", hw_caps=CAPS.replace("1fc9cbf5", "1fc9cbe5"))
        fit = cold(replace(THERE, facts=other))
        assert (fit.fits, fit.is_one_way) == (True, False)


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
        assert "not reported by" in judge(replace(THERE, facts=facts(hw_caps=""))).warnings[0]


class TestOldXen:
    """Xen before 4.12 does not print "pv", before 4.13 not "hap": there it is not missing."""

    OLD = (("8", "hvm"), ("11", "hvm"), ("11", "hvm hvm_directio"), ("12", "pv hvm hvm_directio pv_directio"))

    @pytest.mark.parametrize("kind", ["PV", "PVH", "HVM"])
    @pytest.mark.parametrize(
        ("minor", "caps"), [*OLD, ("13", "pv hvm hap shadow"), ("8", ""), ("21", "pv hvm hap")]
    )
    def test_moves_between_two_of_them(self, minor, caps, kind):
        old = facts(xen_minor=minor, virt_caps=caps)
        fit = judge(
            replace(THERE, facts=old), source=replace(HERE, facts=old), machine=replace(WEB1, type=kind)
        )
        assert (fit.fits, fit.reasons) == (True, ())

    @pytest.mark.parametrize(
        ("minor", "caps", "kind", "lacks"),
        [
            ("12", "hvm hvm_directio", "PV", "pv"),
            ("13", "pv hvm shadow", "PVH", "hap"),
            ("11", "hvm_directio", "HVM", "hvm"),
            ("20", "hvm hap", "PV", "pv"),
        ],
    )
    def test_what_a_newer_one_does_not_print_is_missing(self, minor, caps, kind, lacks):
        new = facts(xen_minor=minor, virt_caps=caps)
        fit = judge(
            replace(THERE, facts=new), source=replace(HERE, facts=new), machine=replace(WEB1, type=kind)
        )
        assert fit.reasons == (f"It cannot run {kind} machines (no {lacks}).",)

    @pytest.mark.parametrize("minor", ["", "²", pytest.param("9" * 5000, id="long"), "unstable", "-1", " 4"])
    def test_a_version_that_is_none_says_nothing(self, minor):
        odd = facts(xen_minor=minor, virt_caps="hvm")
        assert judge(replace(THERE, facts=odd), machine=replace(WEB1, type="PV")).fits


FEWER = CAPS.replace("219c07a9", "219c0789")
AVX2 = (0, 0, 0, 0, 0, 1 << 5, 0, 0)


class TestLevel:
    ZEROS = ":".join(["00000000"] * 8)

    @pytest.mark.parametrize("arm", [{"machine": "aarch64"}, {"machine": "armv7l"}, {"machine": ""}, {}])
    def test_a_host_whose_line_is_all_zeros_hides_nothing(self, arm):
        zeros = facts(hw_caps=self.ZEROS, **arm)
        assert not any(hidden_at_boot([facts(), zeros]))
        assert hidden_at_boot([facts(), zeros, facts(hw_caps=FEWER)]) == AVX2
        assert features(zeros) == ()

    def test_hosts_of_another_architecture_do_not_count(self):
        arm = facts(machine="aarch64", hw_caps=FEWER)
        assert not any(hidden_at_boot([facts(), arm]))
        assert hidden_at_boot([facts(), facts(hw_caps=FEWER), arm], here=arm) == ()
        assert hidden_at_boot([facts(), facts(hw_caps=FEWER), arm], here=facts()) == AVX2

    def test_a_kernel_of_32_bits_runs_on_the_same_processors(self):
        assert hidden_at_boot([facts(), facts(machine="i686", hw_caps=FEWER)]) == AVX2

    @pytest.mark.parametrize("line", ["", "1", "x" * 500, None, 7, "g" * 8 + ":0" * 7])
    def test_an_odd_line_says_nothing(self, line):
        assert not any(hidden_at_boot([facts(), facts(hw_caps=line)]))

    def test_what_not_all_hosts_have_is_hidden(self):
        assert hidden_at_boot([facts(), facts(hw_caps=FEWER), facts(hw_caps="")]) == AVX2

    @pytest.mark.parametrize("hosts", [[], [facts(hw_caps="")], [facts()], [facts(), facts()]])
    def test_among_hosts_that_are_alike_nothing_is(self, hosts):
        assert not any(hidden_at_boot(hosts))

    def test_nothing_is_hidden_where_staff_does_not_want_it(self, settings):
        settings.WEBXEN_CPU_LEVEL = "HOST"
        assert hidden_at_boot([facts(), facts(hw_caps=FEWER)]) == ()

    @pytest.mark.parametrize(("word", "bit"), [(0, 9), (1, 21), (1, 27), (1, 31), (6, 4)])
    def test_what_xen_gives_every_guest_is_never_hidden(self, word, bit):
        words = [int(one, 16) for one in CAPS.split(":")]
        words[word] ^= 1 << bit
        other = ":".join(f"{one:08x}" for one in words)
        assert not any(hidden_at_boot([facts(), facts(hw_caps=other)]))

    def test_a_machine_that_was_levelled_moves_there_and_back(self):
        fewer = replace(THERE, facts=facts(hw_caps=FEWER))
        levelled = replace(WEB1, hidden=AVX2, next_hidden=AVX2)
        assert judge(fewer, machine=levelled).fits
        home = replace(HERE, memory_free_mib=4096)
        back = judge(home, source=fewer, machine=levelled)
        assert (back.fits, back.is_one_way) == (True, False)

    def test_one_that_was_not_is_told_how_it_can(self):
        fewer = replace(THERE, facts=facts(hw_caps=FEWER))
        (why,) = judge(fewer, machine=replace(WEB1, next_hidden=AVX2)).reasons
        assert why == (
            "Its processor lacks 1 feature of xen1 (avx2). Shut the machine down and start it: it then"
            " uses only what all hosts support."
        )
        assert "Shut" not in judge(fewer).reasons[0]

    def test_one_level_is_not_another(self):
        fewer = replace(THERE, facts=facts(hw_caps=FEWER))
        assert not judge(fewer, machine=replace(WEB1, hidden=(0, 0, 0, 0, 0, 1 << 4, 0, 0))).fits


def test_features_have_the_names_people_know():
    words = [len(names) for names in NAMES]
    assert all(count <= 32 for count in words)
    assert len(words) == 8
    names = [
        name_of(*place) for place in ((0, 31), (1, 31), (2, 31), (2, 20), (3, 2), (4, 3), (5, 31), (6, 31))
    ]
    assert names == ["pbe", "hypervisor", "3dnow", "nx", "svm", "xsaves", "avx512vl", "pks"]
    assert [name_of(5, 22), name_of(7, 10), name_of(7, 30)] == ["5.22", "aperfmperf", "7.30"]

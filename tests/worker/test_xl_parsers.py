"""What the real xl 4.20 printed, read; what nobody can read, refused."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devtools.fakexl.moving import UNDEFINED
from worker.xen import xl

CAPTURED = Path(__file__).parent / "captured"
CASES = json.loads((CAPTURED / "xl-cases-4.20.json").read_text())
LIST = CASES["list-v"]["stdout"]
HEADING = LIST.splitlines()[0] + "\n"
DOM0 = LIST.splitlines()[1] + "\n"


UUID, OTHER = "1ecf6c63-8cd3-53fe-b653-1c1b56b3275b", "0f0f0f0f-1111-2222-3333-444444444444"


def row(name: str = "alpha", flags: str = "-b----", uuid: str = UUID, domid: int = 6) -> str:
    return f"{name:<40} {domid:5} {128:5} {1:5}     {flags}  {56.5:8.1f} {uuid}        -                -\n"


class TestList:
    def test_the_real_one(self) -> None:
        alpha, beta = xl.parse_list(LIST)
        assert alpha == xl.Domain(
            *(6, "alpha", "1ecf6c63-8cd3-53fe-b653-1c1b56b3275b", 128, 1, "------", 56.5),
        )
        assert (beta.domid, beta.name, beta.power) == (8, "beta", "RUNNING")

    def test_a_host_without_guests_has_no_domains(self) -> None:
        assert xl.parse_list(HEADING + DOM0) == ()

    @pytest.mark.parametrize(
        ("flags", "power"),
        [
            ("r-----", "RUNNING"),
            ("-b----", "RUNNING"),
            ("------", "RUNNING"),
            ("--p---", "PAUSED"),
            ("--ps--", "OFF"),
            ("---s--", "OFF"),
            ("---ss-", "SUSPENDED"),
            ("---sc-", "CRASHED"),
            ("---sr-", "UNKNOWN"),
            ("--p--d", "UNKNOWN"),
            ("--psrd", "UNKNOWN"),
        ],
    )
    def test_states(self, flags: str, power: str) -> None:
        (domain,) = xl.parse_list(HEADING + DOM0 + row(flags=flags))
        assert domain.power == power

    @pytest.mark.parametrize("flags", ["--p--d", "--psr-"])
    def test_a_dying_domain_without_a_name_is_known_by_its_uuid(self, flags: str) -> None:
        (domain,) = xl.parse_list(HEADING + DOM0 + row("(null)", flags))
        assert (domain.name, domain.power, domain.uuid[:8]) == ("", "UNKNOWN", "1ecf6c63")

    @pytest.mark.parametrize("flags", ["--p---", "-b----", "r-----"])
    def test_a_domain_that_was_left_half_made_is_read_and_runs_nothing(self, flags: str) -> None:
        half, alpha = xl.parse_list(HEADING + DOM0 + row("(null)", flags) + row(domid=8, uuid=OTHER))
        assert (half.name, half.power, half.is_half_made, half.uuid) == ("", "UNKNOWN", True, UUID)
        assert (alpha.name, alpha.power, alpha.is_half_made) == ("alpha", "RUNNING", False)

    def test_domain_0_needs_no_name(self) -> None:
        unnamed = DOM0.replace("Domain-0", "(null)  ")
        assert [domain.name for domain in xl.parse_list(HEADING + unnamed + row())] == ["alpha"]

    @pytest.mark.parametrize(
        "name",
        [
            OTHER,
            f"vm-{OTHER}",
            f"{OTHER}-{OTHER}",
            "my web server",
            " two  blanks ",
            "почтовый сервер",
            "почтовый сервер отдела кадров и бухгалтерии, новый",
            "a" * 300,
            "7",
            "7 128 1",
            "null",
            "-h",
            "a\tb",
            "a\x1b[31mb",
            "-b---- 56.5",
            "Name",
            "\U0001f600\u2028\u00a0x",
            "web|1",
            "[{}]",
        ],
    )
    def test_a_name_may_be_anything(self, name: str) -> None:
        found = xl.parse_list(HEADING + DOM0 + row(name) + row(domid=8, uuid=OTHER))
        assert [(one.name.strip(), one.domid, one.uuid) for one in found] == [
            (name.strip(), 6, UUID),
            ("alpha", 8, OTHER),
        ]

    @given(
        st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), min_size=1, max_size=60)
    )
    def test_any_name_on_one_line_is_read_or_refused_and_hides_no_domain(self, name: str) -> None:
        try:
            found = xl.parse_list(HEADING + DOM0 + row(name) + row(domid=8, uuid=OTHER))
        except xl.Unreadable:
            return
        assert [one.uuid for one in found] == [UUID, OTHER]

    @pytest.mark.parametrize(
        "run_together",
        [
            row()[:-1] + row(domid=8, uuid=OTHER),
            row()[:-40] + row(domid=8, uuid=OTHER),
            row()[:70] + row(domid=8, uuid=OTHER),
            row()[:50] + row(domid=8, uuid=OTHER)[3:],
        ],
    )
    def test_two_lines_run_together_are_not_one_domain(self, run_together: str) -> None:
        with pytest.raises(xl.Unreadable):
            xl.parse_list(HEADING + DOM0 + run_together)

    @pytest.mark.parametrize(
        ("heading", "ending"),
        [
            (HEADING[:-1] + "  Capabilities\n", "   hvm,xsm"),
            (HEADING[:-1] + "  Capabilities\n", "   -"),
            (HEADING[:-1] + "  Capabilities\n", ""),
            (HEADING[:-1] + "   Cpupool NODE Affinity\n", "   Pool-0 all"),
            (HEADING.replace("\tSecurity Label", ""), None),
            (HEADING.replace("Reason-Code\tSecurity Label", ""), ""),
        ],
    )
    def test_columns_more_or_fewer(self, heading: str, ending: str | None) -> None:
        lines = [(DOM0 + row()).replace("                -\n", "\n")] if ending is None else []
        if heading.rstrip().endswith("UUID"):
            lines = [
                line[: line.index("-0000-") + 30] + "\n" if "-0000-" in line else line for line in [DOM0]
            ] + [row()[: row().index(UUID) + 36] + "\n"]
        text = "".join(lines) or (DOM0 + row()).replace("\n", f"{ending}\n")
        (alpha,) = xl.parse_list(heading + text)
        assert (alpha.name, alpha.domid, alpha.uuid, alpha.cpu_seconds) == ("alpha", 6, UUID, 56.5)

    def test_a_column_in_the_middle(self) -> None:
        heading = HEADING.replace("VCPUs\t", "VCPUs Claimed\t").replace("   UUID", "   Caps UUID")
        text = (DOM0 + row()).replace("     -b", "   77     -b").replace("     r-", "   77     r-")
        text = re.sub(r"(\d\.\d) ", r"\1 hap ", text)
        (alpha,) = xl.parse_list(heading + text)
        assert (alpha.memory_mib, alpha.vcpus, alpha.uuid) == (128, 1, UUID)

    @pytest.mark.parametrize("column", ["ID", "Mem", "VCPUs", "State", "UUID"])
    def test_a_list_without_what_is_needed_is_unreadable(self, column: str) -> None:
        with pytest.raises(xl.Unreadable):
            xl.parse_list(re.sub(rf"\b{column}\b", "Other", HEADING) + DOM0 + row())

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "\n",
            HEADING,
            HEADING + row(),
            LIST[:-1],
            LIST[:-30],
            LIST[: len(HEADING) + len(DOM0) - 5],
            HEADING + DOM0 + row().replace("     -b----", ""),
            HEADING + DOM0 + row().replace("\n", " extra\n"),
            HEADING + DOM0 + row(flags="zzzzzz"),
            HEADING + DOM0 + row(uuid="not-a-uuid"),
            HEADING + DOM0 + "\n",
            # a domid that was garbled into another's: the domain would be gone from the list
            HEADING + DOM0 + DOM0,
            HEADING + DOM0 + row() + row(),
            CASES["list"]["stdout"],
            "xl: error while loading shared libraries\n",
        ],
    )
    def test_what_cannot_be_read_is_never_no_domains(self, text: str) -> None:
        with pytest.raises(xl.Unreadable):
            xl.parse_list(text)

    @settings(max_examples=500, deadline=None)
    @given(st.data())
    def test_a_spoiled_list_is_refused_or_leaves_no_domain_out(self, data: st.DataObject) -> None:
        at = data.draw(st.integers(0, len(LIST)))
        spoiled = LIST[:at] + data.draw(st.text(max_size=3)) + LIST[at + data.draw(st.integers(0, 3)) :]
        try:
            domains = xl.parse_list(spoiled)
        except xl.Unreadable:
            return
        assert len(domains) == 2

    @given(st.text())
    def test_noise_is_unreadable(self, text: str) -> None:
        with pytest.raises(xl.Unreadable):
            xl.parse_list(text)


class TestInfo:
    def test_the_real_one(self) -> None:
        facts = xl.parse_info((CAPTURED / "xl-info-4.20.txt").read_text())
        assert list(facts)[:3] == ["host", "release", "version"]
        assert facts["virt_caps"] == "pv hvm hap gnttab-v1 gnttab-v2"
        assert (facts["total_memory"], facts["nr_cpus"], facts["xen_version"]) == ("2047", "1", "4.20.5-pre")
        assert facts["xen_commandline"].startswith("console=com1 com1=115200,8n1")

    def test_lines_more_fewer_and_odd(self) -> None:
        text = (
            "host                   : xen1\n"
            "Some-New.Fact          : 1\n"
            "  a continued line\n"
            ": nothing\n"
            "nr_cpus                : many\n"
            "xen_commandline        : a: b : c\x00\n"
            "total_memory           : 2047\n"
            "free_memory            : 1\n"
        )
        facts = xl.parse_info(text)
        assert facts["free_memory"] == "1"
        assert facts["Some-New.Fact"] == "1"
        assert facts["xen_commandline"].startswith("a: b : c")
        assert "virt_caps" not in facts

    @pytest.mark.parametrize("text", ["", "host : a\n", "nonsense\n", "total_memory : lots\n"])
    def test_half_an_answer_is_unreadable(self, text: str) -> None:
        with pytest.raises(xl.Unreadable):
            xl.parse_info(text)


class TestConfigs:
    def test_the_real_one(self) -> None:
        configs = xl.parse_configs(CASES["list-l"]["stdout"])
        assert {domid: config["c_info"]["type"] for domid, config in configs.items()} == {6: "pvh", 8: "pv"}

    @pytest.mark.parametrize("text", ["", "[", "{}", "[{}]", "[1]", "null", '[{"domid": 1, "config": 2}]'])
    def test_what_is_no_list_is_unreadable(self, text: str) -> None:
        with pytest.raises(xl.Unreadable):
            xl.parse_configs(text)

    @pytest.mark.parametrize("text", ["[]", '[{"domid": 1, "config": {"c_info": {"type": "pv"}}}]'])
    def test_domain_0_may_be_missing_as_json_that_was_cut_is_no_json(self, text: str) -> None:
        assert set(xl.parse_configs(text)) <= {1}

    def test_a_long_list_that_was_cut_anywhere_is_unreadable(self) -> None:
        whole = CASES["list-l"]["stdout"].rstrip()
        for at in range(0, len(whole), 97):
            with pytest.raises(xl.Unreadable):
                xl.parse_configs(whole[:at])


class TestErrors:
    @pytest.mark.parametrize(
        ("case", "kind"),
        [
            ("create-no-file", xl.BadDomainConfig),
            ("create-bad-syntax", xl.BadDomainConfig),
            ("create-no-name", xl.BadDomainConfig),
            ("create-bad-type", xl.BadDomainConfig),
            ("create-no-kernel", xl.KernelMissing),
            ("create-no-disk", xl.DiskMissing),
            ("create-no-memory", xl.NoMemory),
            ("create-small-memory", xl.TooSmall),
            ("create-no-bridge", xl.BridgeMissing),
            ("create-existing-name", xl.DomainExists),
            ("destroy-missing", xl.NoSuchDomain),
            ("shutdown-missing", xl.NoSuchDomain),
            ("domid-missing", xl.NoSuchDomain),
            ("list-missing", xl.NoSuchDomain),
            ("unknown-verb", xl.XlFailed),
        ],
    )
    def test_the_real_ones_have_a_name(self, case: str, kind: type[xl.XlError]) -> None:
        told = CASES[case]
        assert type(xl.failure(told["argv"][1], told["rc"], told["stderr"])) is kind

    def test_the_cause_is_told_and_not_how_the_domain_was_taken_back(self) -> None:
        told = xl.failure("create", 3, CASES["create-no-bridge"]["stderr"])
        assert (
            "libxl: error: libxl_device.c:1351:device_hotplug_child_death_cb: script: Could not find bridge "
            in (str(told))
        )
        assert "Destruction of domain failed" not in str(told)

    def test_control_characters_do_not_come_through(self) -> None:
        assert xl.last_words("a\x1b[31mb\n\n\x00c\u202e\n") == ("a [31mb", "c\u202e")

    def test_advice_to_compare_both_hosts_by_hand_is_left_out(self) -> None:
        printed = f"migration sender: Target has acknowledged transfer.\n{UNDEFINED}"
        assert xl.last_words(printed, lines=2) == ("migration sender: Target has acknowledged transfer.",)

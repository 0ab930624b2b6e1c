"""What `verify` finds, over plain values: a clean picture, and each difference planted into it."""

import re
from pathlib import Path

import pytest
from django.utils import translation

from tests.differences import GONE, LOST, PLANTED, change, clean, domain, plant, volume
from webxen.core.messages import translate
from webxen.diagnostics import findings
from webxen.diagnostics.compare import compare
from webxen.diagnostics.findings import CATALOGUE
from webxen.diagnostics.snapshot import Picture, ReceiptRow
from worker.contract import FenceSeen


class TestCleanState:
    def test_has_no_finding(self):
        assert compare(clean()) == []
        assert findings.exit_status([]) == 0

    def test_an_empty_portal_has_none_either(self):
        assert compare(Picture()) == []


class TestOneDifference:
    def test_there_is_one_planted_for_every_code(self):
        assert set(PLANTED) == set(CATALOGUE)
        assert len(PLANTED) >= 10

    @pytest.mark.parametrize("code", PLANTED)
    def test_is_the_one_that_is_found(self, code):
        _, hosts, machine, word = PLANTED[code]
        (found,) = compare(plant(clean(), code))
        assert (found.code, found.hosts, found.machine) == (code, hosts, machine)
        assert word in found.said
        assert found.said.endswith(".")


class TestManyDifferences:
    CODES = (
        "MACHINE_ELSEWHERE",
        "DOMAIN_UNKNOWN",
        "MACHINE_FILES_ORPHAN",
        "FENCE_BEHIND",
        "JOB_OVERDUE",
        "HOST_MEMORY_DRIFT",
        "ADDRESS_NOT_HELD",
        "ADDRESS_OF_DELETED",
        "IMAGE_DIFFERS",
        "QUOTA_DRIFT",
        "VCPUS_WRONG",
        "POOL_UNSEEN",
    )

    def test_are_all_found_and_the_worst_stands_first(self):
        picture = clean()
        for code in self.CODES:
            picture = plant(picture, code)
        found = compare(picture)
        assert sorted(f.code for f in found) == sorted(self.CODES)
        assert found[0].severity == findings.Severity.CRITICAL
        assert found[-1].severity == findings.Severity.UNSEEN
        assert findings.exit_status(found) == 1


class TestWhatCannotBeSeen:
    def test_a_silent_hosts_machines_are_neither_missing_nor_wrong(self):
        picture = change(clean(), host="xen1", is_silent=True, domains=(), holdings={"volumes": ()})
        picture = change(picture, host="xen1", is_silent=True, domains=())
        found = compare(picture)
        assert [f.code for f in found] == ["HOST_SILENT"]
        assert findings.exit_status(found) == 2

    def test_an_unreadable_list_is_not_no_domains(self):
        assert [f.code for f in compare(change(clean(), host="xen1", domains=None))] == ["DOMAINS_UNREADABLE"]

    def test_a_pool_that_was_not_listed_misses_nothing(self):
        picture = change(clean(), host="xen1", holdings={"volumes": (), "pools": ()})
        assert [f.code for f in compare(picture)] == ["POOL_UNSEEN"]

    def test_a_list_that_was_cut_misses_nothing(self):
        picture = change(clean(), host="xen1", holdings={"volumes": (), "is_cut": True})
        assert [f.code for f in compare(picture)] == ["HOLDINGS_CUT"]

    def test_an_address_is_not_given_back_while_a_host_is_silent(self):
        picture = change(plant(clean(), "ADDRESS_OF_DELETED"), host="xen2", is_silent=True)
        found = next(f for f in compare(picture) if f.code == "ADDRESS_OF_DELETED")
        assert not found.is_mendable

    def test_an_address_is_not_given_back_while_its_machine_still_runs(self):
        picture = plant(plant(clean(), "ADDRESS_OF_DELETED"), "DOMAIN_OF_DELETED")
        found = next(f for f in compare(picture) if f.code == "ADDRESS_OF_DELETED")
        assert not found.is_mendable


def test_a_domain_without_a_name_is_told_as_one():
    (found,) = compare(change(clean(), host="xen2", domains=(domain("4" * 36, domain=""),)))
    assert found.code == "DOMAIN_UNKNOWN"
    assert re.match(r"Unknown domain \d+ without a name \(running, ", found.said)
    with translation.override("ru"):
        assert "без имени" in translate(found.said)


def test_a_foreign_domain_is_named_beside_the_address_it_shares():
    uuid = "4" * 36
    picture = change(
        clean(),
        host="xen2",
        domains=(domain(uuid, domain="by-hand"),),
        addresses=((uuid, "xenbr0", "10.0.2.100"),),
    )
    found = next(one for one in compare(picture) if one.code == "ADDRESS_TWICE")
    assert found.said == "by-hand, web use the same address: 10.0.2.100 on xenbr0."


class TestDomainThatIsLeftAlone:
    def test_is_no_difference_on_that_host(self):
        picture = plant(clean(), "DOMAIN_UNKNOWN")
        (found,) = compare(picture)
        (host,) = found.hosts
        assert compare(change(picture, host=host, left_alone=frozenset({found.machine_id}))) == []
        other = "xen1" if host == "xen2" else "xen2"
        assert compare(change(picture, host=other, left_alone=frozenset({found.machine_id}))) == [found]

    def test_is_judged_once_it_is_known_as_a_machine(self):
        picture = plant(clean(), "MACHINE_RUNS_TWICE")
        (found,) = compare(picture)
        for host in found.hosts:
            picture = change(picture, host=host, left_alone=frozenset({found.machine_id}))
        assert compare(picture) == [found]


class TestMachineThatMoves:
    @pytest.mark.parametrize(
        "code", ["VOLUME_MISSING", "POWER_WRONG", "MEMORY_WRONG", "FENCE_BEHIND", "VOLUME_SIZE"]
    )
    def test_is_not_judged(self, code):
        picture = plant(clean(), code)
        for name in ("web", "db"):
            picture = change(picture, machine=name, is_moving=True)
        assert compare(picture) == []

    def test_is_judged_when_it_runs_twice(self):
        picture = change(plant(clean(), "MACHINE_RUNS_TWICE"), machine="web", is_moving=True)
        assert [f.code for f in compare(picture)] == ["MACHINE_RUNS_TWICE"]


class TestOrphan:
    def found(self, **values):
        picture = change(clean(), host="xen1", holdings={"volumes": (volume(), volume(**values))})
        return next(f for f in compare(picture) if f.code == "VOLUME_ORPHAN")

    def test_of_a_deleted_machine_is_a_warning_without_a_command(self):
        found = self.found(machine_id=GONE, disk_id="d9")
        assert (found.command, found.severity) == ("", findings.Severity.WARNING)
        assert "gone is deleted" in found.said
        assert not found.is_mendable

    def test_that_a_domain_may_have_open_is_an_error(self):
        picture = change(clean(), host="xen1", holdings={"volumes": (volume(), volume(GONE, "d9"))})
        picture = change(picture, host="xen2", is_silent=True, domains=(domain(GONE),))
        found = next(f for f in compare(picture) if f.code == "VOLUME_ORPHAN")
        assert (found.command, found.severity) == ("", findings.Severity.ERROR)

    def test_of_a_machine_nobody_knows_is_an_error_without_a_command(self):
        found = self.found(machine_id=LOST, disk_id="d9", pool="vg0", is_draft=True)
        assert (found.command, found.severity) == ("", findings.Severity.ERROR)

    def test_of_a_living_machine_gets_no_command(self):
        found = self.found(disk_id="d9")
        assert (found.command, found.machine) == ("", "web")

    @pytest.mark.parametrize("name", ["x; rm -rf /", "$(reboot)", "-rf", "a b", "\x1b[2J", "..", ""])
    def test_that_a_host_named_cleverly_gets_no_command(self, name):
        assert self.found(machine_id=GONE, disk_id=name).command == ""


class TestMachineThatIsMissing:
    """What the host's files say was made by a portal is no stranger's, whatever is left of it."""

    TRACES = (
        {"fences": (FenceSeen(LOST, 3),)},
        {"machines": (LOST,)},
    )

    @pytest.mark.parametrize("trace", TRACES)
    @pytest.mark.parametrize("has_domain", [True, False])
    def test_without_a_receipt_is_told_without_any_command(self, trace, has_domain):
        picture = change(clean(), host="xen1", holdings={"volumes": (volume(), volume(LOST, "d9")), **trace})
        if has_domain:
            picture = change(picture, host="xen1", domains=(domain(), domain(LOST, domid=8)))
        (found,) = compare(picture)
        assert (found.code, found.severity, found.command) == (
            "MACHINE_MISSING_HERE",
            findings.Severity.ERROR,
            "",
        )
        assert f"there it is {'running' if has_domain else 'off'}." in found.said

    def test_that_is_being_deleted_is_not_taken_back(self):
        receipt = ReceiptRow("new", "lab", "alice", "DELETE", "2026-11-24 12:00", "")
        picture = change(clean(), host="xen1", holdings={"volumes": (volume(), volume(LOST, "d9"))})
        (found,) = compare(change(picture, host="xen1", receipts={LOST: receipt}))
        assert (found.code, found.command) == ("MACHINE_MISSING_HERE", "")

    def test_shows_an_address_that_another_was_given(self):
        picture = change(clean(), host="xen2", addresses=((LOST, "xenbr0", "10.0.2.100"),))
        (found,) = compare(picture)
        assert (found.code, found.hosts) == ("ADDRESS_TWICE", ("xen1", "xen2"))
        assert f"{LOST}, web use the same address: 10.0.2.100 on xenbr0." in found.said

    def test_keeps_an_address_from_being_given_back(self):
        picture = change(
            plant(clean(), "ADDRESS_OF_DELETED"), host="xen2", addresses=((GONE, "", "10.9.9.9"),)
        )
        found = next(f for f in compare(picture) if f.code == "ADDRESS_OF_DELETED")
        assert not found.is_mendable


class TestAdvice:
    #: a disk that is removed, or a machine whose plug is pulled, does not come back
    DESTROYING = re.compile(r"\brm\b|\brmdir\b|lvremove|vgremove|xl destroy|\bunlink\b|remove the folder")

    @pytest.mark.parametrize("code", CATALOGUE)
    def test_never_destroys(self, code):
        (found,) = compare(plant(clean(), code))
        assert not self.DESTROYING.search(f"{found.said} {found.cure} {found.command}")

    @pytest.mark.parametrize("name", ["verify.md", "errors.md"])
    def test_never_destroys_on_paper(self, name):
        page = (Path(__file__).resolve().parents[2] / "docs" / name).read_text()
        assert not self.DESTROYING.search(page)


class TestTable:
    def test_is_aligned_and_names_each_cure_once(self):
        found = compare(plant(plant(clean(), "POWER_WRONG"), "DOMAIN_UNKNOWN"))
        text = findings.as_text(found, summary="2 findings.")
        lines = text.splitlines()
        assert [
            line.index(word) for line, word in zip(lines[:3], ("WHAT", "Unknown", "db is"), strict=True)
        ] == [lines[0].index("WHAT")] * 3
        assert text.count("POWER_WRONG [--fix]: ") == 1
        assert lines[-1] == "2 findings."

    def test_prints_nothing_that_steers_a_terminal(self):
        found = compare(change(clean(), host="xen2", domains=(domain("6" * 36, domain="\x1b]0;owned\x07"),)))
        assert "\x1b" not in findings.as_text(found, summary="")


class TestPage:
    def test_lists_exactly_the_findings_there_are(self):
        page = (Path(__file__).resolve().parents[2] / "docs/verify.md").read_text()
        rows = re.findall(r"^\| `([A-Z_]+)` \| (\w+) \|.*\| (yes|no) \|$", page, re.MULTILINE)
        assert {code: (severity, fix) for code, severity, fix in rows} == {
            code: (str(kind.severity), "yes" if kind.is_mendable else "no")
            for code, kind in CATALOGUE.items()
        }

"""What `verify` finds, over plain values: a clean picture, and each difference planted into it."""

import re
from pathlib import Path

import pytest

from tests.differences import GONE, PLANTED, change, clean, domain, plant, volume
from webxen.jobs import findings
from webxen.jobs.comparing import compare
from webxen.jobs.findings import CATALOGUE
from webxen.jobs.picture import Picture


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

    def test_comes_with_the_command_a_human_may_run(self):
        found = self.found(machine_id=GONE, disk_id="d9")
        assert found.command == f'rm -i "${{WEBXEN_STATE_DIR:-/var/lib/webxen}}"/disks/{GONE}/d9.img'
        assert "gone is deleted" in found.said
        assert not found.is_mendable

    def test_of_a_volume_group_too(self):
        assert self.found(machine_id=GONE, disk_id="d9", pool="vg0", is_draft=True).command == (
            f"lvremove vg0/webxen-{GONE}-d9-draft"
        )

    def test_of_a_living_machine_gets_no_command(self):
        found = self.found(disk_id="d9")
        assert (found.command, found.machine) == ("", "web")

    @pytest.mark.parametrize("name", ["x; rm -rf /", "$(reboot)", "-rf", "a b", "\x1b[2J", "..", ""])
    def test_that_a_host_named_cleverly_gets_no_command(self, name):
        assert self.found(machine_id=GONE, disk_id=name).command == ""


class TestTable:
    def test_is_aligned_and_names_each_cure_once(self):
        found = compare(plant(plant(clean(), "POWER_WRONG"), "DOMAIN_UNKNOWN"))
        text = findings.as_text(found, summary="2 findings.")
        lines = text.splitlines()
        assert [
            line.index(word) for line, word in zip(lines[:3], ("WHAT", "Nobody", "db is"), strict=True)
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

"""What `verify` finds, over plain values: a clean picture, and each difference planted into it."""

import dataclasses
import re
from pathlib import Path

import pytest

from webxen.inventory.queries import WrongClock
from webxen.jobs import findings
from webxen.jobs.comparing import compare
from webxen.jobs.findings import CATALOGUE, Finding
from webxen.jobs.picture import AddressRow, DiskRow, HostLook, JobRow, MachineRow, Picture
from worker.contract import DomainSeen, FenceSeen, Holdings, JobSeen, VolumeSeen

WEB, DB, GONE = (f"{n}0000000-0000-4000-8000-000000000000" for n in (1, 2, 3))
DIGEST = "a" * 64


def domain(uuid=WEB, **values):
    seen = DomainSeen(domain="web-1", uuid=uuid, domid=7, power="RUNNING", memory_mib=127, vcpus=1)
    return dataclasses.replace(seen, **values)


def volume(machine_id=WEB, disk_id="d1", **values):
    seen = VolumeSeen(machine_id=machine_id, disk_id=disk_id, pool="local", size_mib=1024)
    return dataclasses.replace(seen, **values)


def clean():
    """web runs on xen1, db is off on xen2, and gone was deleted without leaving anything."""
    machine = MachineRow(
        id=WEB,
        name="web",
        power="RUNNING",
        host="xen1",
        fence=3,
        disks=(DiskRow("d1", "local", 1024),),
        addresses=(("xenbr0", "10.0.2.100", True),),
    )
    other = MachineRow(id=DB, name="db", host="xen2", disks=(DiskRow("d2", "vg0", 2048),))
    xen1 = HostLook(
        name="xen1",
        domains=(domain(),),
        holdings=Holdings(
            volumes=(volume(),), pools=("local",), machines=(WEB,), fences=(FenceSeen(WEB, 3),)
        ),
        pools=("local",),
        images={"minimal": DIGEST},
        memory_reserved_mib=128,
        memory_held_mib=128,
    )
    xen2 = HostLook(
        name="xen2",
        holdings=Holdings(volumes=(volume(DB, "d2", pool="vg0", size_mib=2048),), pools=("vg0",)),
        pools=("vg0",),
    )
    return Picture(
        hosts=(xen1, xen2),
        machines=(machine, other, MachineRow(id=GONE, name="gone", state="DELETED", host="xen1")),
        addresses=(AddressRow("10.0.2.100", "lan", WEB),),
        images={"minimal": DIGEST},
    )


def change(picture, *, host=None, machine=None, holdings=None, **values):
    """The picture with one host, one machine or one host's holdings changed."""

    def new(row):
        if holdings is not None:
            return dataclasses.replace(row, holdings=dataclasses.replace(row.holdings, **holdings))
        return dataclasses.replace(row, **values)

    if host is None and machine is None:
        return dataclasses.replace(picture, **values)
    field, name = ("hosts", host) if host else ("machines", machine)
    rows = tuple(new(row) if row.name == name else row for row in getattr(picture, field))
    return dataclasses.replace(picture, **{field: rows})


#: code → (how it is planted, hosts, machine, a word of the sentence)
PLANTED = {
    "MACHINE_RUNS_TWICE": (
        {"host": "xen2", "domains": (domain(domid=9),)},
        ("xen1", "xen2"),
        "web",
        "at the same time",
    ),
    "MACHINE_ELSEWHERE": (
        {"host": "xen1", "domains": (domain(), domain(DB, domain="db-1"))},
        ("xen1",),
        "db",
        "belongs on xen2",
    ),
    "DOMAIN_OF_DELETED": (
        {"host": "xen1", "domains": (domain(), domain(GONE, domid=8))},
        ("xen1",),
        "gone",
        "domain 8",
    ),
    "DOMAIN_UNKNOWN": (
        {"host": "xen2", "domains": (domain("4" * 36, domain="by-hand"),)},
        ("xen2",),
        "by-hand",
        "by-hand",
    ),
    "VOLUME_MISSING": ({"host": "xen1", "holdings": {"volumes": ()}}, ("xen1",), "web", "d1"),
    "VOLUME_ELSEWHERE": (
        {"host": "xen1", "holdings": {"volumes": (volume(), volume(DB, "d2"))}},
        ("xen1",),
        "db",
        "belongs on xen2",
    ),
    "VOLUME_ORPHAN": (
        {"host": "xen1", "holdings": {"volumes": (volume(), volume("5" * 36, "old"))}},
        ("xen1",),
        "",
        "no machine of that id",
    ),
    "VOLUME_SIZE": (
        {"host": "xen1", "holdings": {"volumes": (volume(size_mib=512),)}},
        ("xen1",),
        "web",
        "1024 MiB",
    ),
    "MACHINE_FILES_ORPHAN": (
        {"host": "xen2", "holdings": {"machines": (GONE,)}},
        ("xen2",),
        "gone",
        "is deleted",
    ),
    "MACHINE_WITHOUT_DISK": ({"machine": "db", "disks": ()}, ("xen2",), "db", "no disk"),
    "POWER_WRONG": ({"machine": "db", "power": "RUNNING"}, ("xen2",), "db", "is off"),
    "MEMORY_WRONG": ({"machine": "web", "memory_mib": 256}, ("xen1",), "web", "127 MiB"),
    "VCPUS_WRONG": ({"machine": "web", "vcpus": 2}, ("xen1",), "web", "says 2"),
    "FENCE_BEHIND": ({"machine": "web", "fence": 2}, ("xen1",), "web", "order 3"),
    "JOB_OVERDUE": ({"jobs": (JobRow("j1", "START", "db", "xen2", is_overdue=True),)}, ("xen2",), "db", "j1"),
    "JOB_ONLY_ON_HOST": (
        {"host": "xen2", "holdings": {"jobs": (JobSeen("j9", DB),)}},
        ("xen2",),
        "db",
        "j9",
    ),
    "HOST_MEMORY_DRIFT": ({"host": "xen1", "memory_reserved_mib": 640}, ("xen1",), "", "640 MiB"),
    "ADDRESS_TWICE": (
        {"machine": "db", "addresses": (("xenbr0", "10.0.2.100", True),)},
        ("xen1", "xen2"),
        "db and web",
        "10.0.2.100",
    ),
    "ADDRESS_NOT_HELD": (
        {"machine": "db", "addresses": (("xenbr0", "10.0.2.101", False),)},
        ("xen2",),
        "db",
        "10.0.2.101",
    ),
    "ADDRESS_OF_DELETED": (
        {"addresses": (AddressRow("10.0.2.100", "lan", WEB), AddressRow("10.0.2.102", "lan", GONE))},
        (),
        "gone",
        "10.0.2.102",
    ),
    "CLOCK_AHEAD": (
        {"host": "xen2", "wrong_clock": WrongClock(7380, drops_orders=True)},
        ("xen2",),
        "",
        "2:03:00 ahead of the portal's; it drops every order",
    ),
    "IMAGE_DIFFERS": ({"host": "xen2", "images": {"minimal": "b" * 64}}, ("xen2",), "", "bbbbbbbbbbbb"),
    "HOST_SILENT": ({"host": "xen2", "is_silent": True}, ("xen2",), "", "last heard"),
    "DOMAINS_UNREADABLE": ({"host": "xen2", "domains": None}, ("xen2",), "", "cannot list"),
    "HOLDINGS_UNSEEN": ({"host": "xen2", "holdings": None}, ("xen2",), "", "does not say"),
    "POOL_UNSEEN": ({"host": "xen2", "pools": ("vg0", "vg1")}, ("xen2",), "", "vg1"),
    "HOLDINGS_CUT": ({"host": "xen2", "holdings": {"is_cut": True}}, ("xen2",), "", "more than it can tell"),
    "QUOTA_DRIFT": ({"quota": (Finding("QUOTA_DRIFT", "Lab: 3, not 2."),)}, (), "", "Lab"),
    "RESERVATION_LOST": ({"quota": (Finding("RESERVATION_LOST", "web holds nothing."),)}, (), "", "nothing"),
}


def unseen_holdings(picture):
    hosts = tuple(
        dataclasses.replace(host, holdings=None) if host.name == "xen2" else host for host in picture.hosts
    )
    return dataclasses.replace(picture, hosts=hosts)


def plant(picture, code):
    if code == "HOLDINGS_UNSEEN":  # `change` would read None as "leave them"
        return unseen_holdings(picture)
    return change(picture, **PLANTED[code][0])


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

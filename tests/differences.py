"""Input of `verify` as plain values: a snapshot without differences, and one difference for every code."""

import dataclasses
from uuid import UUID

from webxen.core.messages import Message
from webxen.diagnostics.findings import Finding
from webxen.diagnostics.snapshot import AddressRow, DiskRow, HostLook, JobRow, MachineRow, Picture, ReceiptRow
from webxen.inventory.queries import WrongClock
from webxen.quotas import drift
from worker.contract import DomainSeen, FenceSeen, Holdings, JobSeen, VolumeSeen

WEB, DB, GONE, LOST = (f"{n}0000000-0000-4000-8000-000000000000" for n in (1, 2, 3, 4))
DIGEST = "a" * 64
HELD = Message("ORDER_NOT_KNOWN", host="xen1", name="web", given_at="2026-11-24 12:00")


def domain(uuid=WEB, **values):
    seen = DomainSeen(domain="web-1", uuid=uuid, domid=7, power="RUNNING", memory_mib=127, vcpus=1)
    return dataclasses.replace(seen, **values)


def volume(machine_id=WEB, disk_id="d1", **values):
    seen = VolumeSeen(machine_id=machine_id, disk_id=disk_id, pool="local", size_mib=1024)
    return dataclasses.replace(seen, **values)


def drifts():
    """One of each kind of difference of the ledger, including every resource."""
    project, web, off, extra, lost = (UUID(int=n) for n in range(5))
    shares = {
        holder: drift.Share("lab", project, holder, 2, 256, 1, is_running=holder != web)
        for holder in (web, off, lost)
    }
    held = {
        web: drift.Held(project, "web", 1, 128, 1, is_running=True),
        off: drift.Held(project, "off", 2, 256, 1, is_running=False),
        extra: drift.Held(project, "extra", 1, 128, 1),
    }
    columns, others = dict.fromkeys(drift.SAID, 2), dict.fromkeys(drift.SAID, -1)
    books = drift.Books("lab", project, columns=columns, reservations=others, entries=others)
    return drift.compare(books=[books], shares=shares, held=held)


def _drifts(what):
    return next(found.sentence for found in drifts() if found.what == what)


def clean():
    """web runs on xen1, db is off on xen2, and gone was deleted completely."""
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
    """Return the snapshot with one host, one machine or one host's holdings changed."""

    def new(row):
        if holdings is not None:
            return dataclasses.replace(row, holdings=dataclasses.replace(row.holdings, **holdings), **values)
        return dataclasses.replace(row, **values)

    if host is None and machine is None:
        return dataclasses.replace(picture, **values)
    field, name = ("hosts", host) if host else ("machines", machine)
    rows = tuple(new(row) if row.name == name else row for row in getattr(picture, field))
    return dataclasses.replace(picture, **{field: rows})


#: code → (function that adds the difference, hosts, machine, a part of the sentence)
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
    "DATABASE_OLDER": ({"held": HELD}, (), "", "job for web"),
    "MACHINE_MISSING_HERE": (
        {
            "host": "xen1",
            "domains": (domain(), domain(LOST, domid=8)),
            "receipts": {LOST: ReceiptRow("new", "lab", "alice", "CREATE", "2026-11-24 12:00", "")},
        },
        ("xen1",),
        "new",
        "created by this portal on 2026-11-24 12:00 UTC",
    ),
    "MACHINE_DELETED_SINCE": (
        {
            "host": "xen2",
            "holdings": {"volumes": ()},
            "receipts": {DB: ReceiptRow("db", "lab", "alice", "DELETE", "", "2026-11-24 12:00")},
        },
        ("xen2",),
        "db",
        "from 2026-11-24 12:00 UTC",
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
        "has no machine with this id",
    ),
    "VOLUME_SIZE": (
        {"host": "xen1", "holdings": {"volumes": (volume(size_mib=512),)}},
        ("xen1",),
        "web",
        "1 GiB",
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
    "FENCE_BEHIND": ({"machine": "web", "fence": 2}, ("xen1",), "web", "job number 3"),
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
        "db, web",
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
        "2 h ahead of the portal's: it rejects every job",
    ),
    "IMAGE_DIFFERS": ({"host": "xen2", "images": {"minimal": "b" * 64}}, ("xen2",), "", "bbbbbbbbbbbb"),
    "HOST_SILENT": ({"host": "xen2", "is_silent": True}, ("xen2",), "", "been in contact"),
    "DOMAINS_UNREADABLE": ({"host": "xen2", "domains": None}, ("xen2",), "", "cannot list"),
    "HOLDINGS_UNSEEN": ({"host": "xen2", "holdings": None}, ("xen2",), "", "does not report"),
    "POOL_UNSEEN": ({"host": "xen2", "pools": ("vg0", "vg1")}, ("xen2",), "", "vg1"),
    "HOLDINGS_CUT": (
        {"host": "xen2", "holdings": {"is_cut": True}},
        ("xen2",),
        "",
        "can report",
    ),
    "QUOTA_DRIFT": ({"quota": (Finding("QUOTA_DRIFT", _drifts("FIGURES")),)}, (), "", "reserved for it"),
    "RESERVATION_LOST": (
        {"quota": (Finding("RESERVATION_LOST", _drifts("MACHINE_HOLDS_NOTHING")),)},
        (),
        "",
        "no reservation",
    ),
    "MACHINE_FAILED_RUNS": (
        {
            "own": (
                Finding(
                    "MACHINE_FAILED_RUNS",
                    Message("MACHINE_FAILED_RUNS", name="web", state="RUNNING", host="xen1"),
                    ("xen1",),
                    "web",
                    WEB,
                ),
            )
        },
        ("xen1",),
        "web",
        "but is running",
    ),
    "SEED_KEPT": (
        {
            "own": (
                Finding(
                    "SEED_KEPT",
                    Message("SEED_KEPT", name="web"),
                    ("xen1",),
                    "web",
                    WEB,
                ),
            )
        },
        ("xen1",),
        "web",
        "password hash",
    ),
    "ROUND_FAILS": (
        {
            "own": (
                Finding(
                    "ROUND_FAILS",
                    Message("ROUND_FAILS", step_name="give up", about=WEB, n=3, error="KeyError"),
                ),
            )
        },
        (),
        "",
        "3 times",
    ),
    **{
        code: (
            {
                "own": (
                    Finding(
                        code,
                        Message(
                            "POOL_FILLING",
                            pool="local",
                            host="xen1",
                            free_mib=700,
                            total_mib=8012,
                            reserved_mib=7400,
                            limit_mib=8012,
                        ),
                        ("xen1",),
                    ),
                )
            },
            ("xen1",),
            "",
            "7.23 GiB of 7.82 GiB",
        )
        for code in ("POOL_FULL", "POOL_FILLING")
    },
    "PORTAL_KEY_UNUSABLE": (
        {
            "own": (
                Finding(
                    "PORTAL_KEY_UNUSABLE",
                    Message("PORTAL_KEY_UNUSABLE", path="/var/lib/webxen/portal.key"),
                ),
            )
        },
        (),
        "",
        "/var/lib/webxen/portal.key",
    ),
}


def unseen_holdings(picture):
    hosts = tuple(
        dataclasses.replace(host, holdings=None) if host.name == "xen2" else host for host in picture.hosts
    )
    return dataclasses.replace(picture, hosts=hosts)


def plant(picture, code):
    if code == "HOLDINGS_UNSEEN":  # `change` would read None as "unchanged"
        return unseen_holdings(picture)
    return change(picture, **PLANTED[code][0])

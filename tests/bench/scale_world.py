"""One data set of the scale benchmark: creates machines, hosts and events, and requests every page and list.

Runs in its own process with the portal's settings: `python -m tests.bench.scale_world MACHINES HOSTS EVENTS`.
Prints one JSON line: for each URL the times in seconds, the bytes, the status and the number of queries.
"""

import ipaddress
import json
import random
import sys
import time
import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import django

django.setup()

from django.conf import settings  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402
from django.test import Client, override_settings  # noqa: E402
from django.test.utils import CaptureQueriesContext  # noqa: E402

from tests.bench.scale_rows import quickly, store  # noqa: E402
from webxen.accounts import operations as accounts  # noqa: E402
from webxen.accounts.models import Project, User  # noqa: E402
from webxen.core import clock  # noqa: E402
from webxen.core.models import AuditEntry  # noqa: E402
from webxen.diagnostics import fleet_look  # noqa: E402
from webxen.fleet import plans  # noqa: E402
from webxen.inventory.models import Address, Host, Image, Network, Pool, Size  # noqa: E402
from webxen.jobs.models import Job, JobEvent  # noqa: E402
from webxen.machines.models import Disk, Interface, Machine, MachineMove  # noqa: E402
from webxen.quotas import operations as quotas  # noqa: E402
from webxen.quotas.models import Quota, QuotaEntry, Reservation  # noqa: E402
from webxen.quotas.shortage import Figures  # noqa: E402

MEMORY_MIB, DISK_GIB, VCPUS = 256, 1, 1
NOW = clock.now()
LONG_AGO = NOW - timedelta(days=1)
LOTS = 10_000_000
TURNS = 12
#: a page that is far slower than the goal is not requested a dozen times
MOST_SECONDS = 6.0
CONFIG = "name = 'x'\n" * 20


class World:
    """The rows, and the URLs to request."""

    def __init__(self, machines: int, hosts: int, events: int) -> None:
        self.count, self.events = machines, events
        self.random = random.Random(1)
        self.alice = User.objects.create_user("alice", password=None)
        self.dana = User.objects.create_user("dana", password=None, is_staff=True)
        self.lab = accounts.create_project(slug="lab", name="Lab", owner=self.alice, now=NOW)
        for number in range(20):
            accounts.create_project(slug=f"p{number}", name=f"Project {number}", owner=self.dana, now=NOW)
        self.image = Image.objects.create(
            slug="minimal",
            name="Minimal",
            file="m.ext4",
            sha256="0" * 64,
            format="FILESYSTEM",
            min_disk_mib=24,
        )
        Size.objects.create(slug="tiny", name="Tiny", vcpus=1, memory_mib=256, disk_gib=1)
        self.network = Network.objects.create(
            name="lan", bridge="xenbr0", cidr="10.0.0.0/8", first="10.1.0.0", last="10.200.0.0"
        )
        self.machines, self.disks = self.make_ids(machines), self.make_ids(machines)
        with quickly():
            self.make_hosts(hosts)
            self.make_machines()
            self.make_quota()
            self.make_history()

    def make_ids(self, count: int) -> list[uuid.UUID]:
        return [uuid.UUID(int=self.random.getrandbits(128), version=4) for _ in range(count)]

    def power(self, number: int) -> str:
        return "RUNNING" if number % 3 else "OFF"

    def host_of(self, number: int) -> uuid.UUID:
        return self.hosts[number % len(self.hosts)]

    def make_hosts(self, count: int) -> None:
        """All have reported recently, except the last one."""
        self.hosts = self.make_ids(count)
        store(Host, (self.host(place) for place in range(count)))
        store(
            Pool,
            (
                {
                    "id": pool,
                    "host_id": host,
                    "name": "local",
                    "kind": "FILE",
                    "total_mib": 4 << 20,
                    "free_mib": 2 << 20,
                    "promised_mib": DISK_GIB * 1024 * len(range(place, self.count, count)),
                }
                for place, (pool, host) in enumerate(zip(self.make_ids(count), self.hosts, strict=True))
            ),
        )

    def host(self, place: int) -> dict[str, Any]:
        facts = {"nr_cpus": "64", "total_memory": "1048576", "free_memory": "524288", "xen_version": "4.20.0"}
        here = range(place, self.count, len(self.hosts))
        return {
            "id": self.hosts[place],
            "name": f"xen{place}",
            "public_key": "",
            "facts": facts,
            "bridges": ["xenbr0"],
            "images": {"m.ext4": "0" * 64},
            "domains": [self.domain(number) for number in here if self.power(number) == "RUNNING"],
            "holdings": {
                "pools": ["local"],
                "volumes": [self.volume(number) for number in here],
                "machines": [str(self.machines[number]) for number in here],
                "fences": [{"machine_id": str(self.machines[number]), "fence": 1} for number in here],
                "jobs": [],
            },
            "observed_at": NOW if place < len(self.hosts) - 1 else LONG_AGO,
            "created_at": NOW,
            "memory_mib": 1 << 20,
            "memory_reserved_mib": MEMORY_MIB * len(here),
            "relay_certificate": "x",
            "relay_address": "10.0.0.1",
        }

    def domain(self, number: int) -> dict[str, Any]:
        return {
            "domain": f"m{number}",
            "uuid": str(self.machines[number]),
            "domid": number + 1,
            "power": "RUNNING",
            "memory_mib": MEMORY_MIB,
            "vcpus": VCPUS,
            "cpu_seconds": 1.0,
        }

    def volume(self, number: int) -> dict[str, Any]:
        return {
            "machine_id": str(self.machines[number]),
            "disk_id": str(self.disks[number]),
            "pool": "local",
            "size_mib": DISK_GIB * 1024,
            "is_draft": False,
        }

    def make_machines(self) -> None:
        store(
            Machine,
            (
                {
                    "id": one,
                    "name": f"m{number}",
                    "project_id": self.lab.id,
                    "owner_id": self.alice.id,
                    "host_id": self.host_of(number),
                    "image_id": self.image.id,
                    "state": "READY",
                    "power": self.power(number),
                    "power_seen_at": NOW,
                    "vcpus": VCPUS,
                    "memory_mib": MEMORY_MIB,
                    "fence": 1,
                    "config": CONFIG,
                    "created_at": NOW - timedelta(seconds=number),
                }
                for number, one in enumerate(self.machines)
            ),
        )
        shape = {"size_gib": DISK_GIB, "vdev": "xvda"}
        pairs = zip(self.machines, self.disks, strict=True)
        store(
            Disk,
            ({"id": disk, "machine_id": one, **shape} for one, disk in pairs),
        )
        store(Interface, ({"machine_id": one, **claim} for one, claim in self.claims()))
        store(Address, ({"holder": one, **claim} for one, claim in self.claims()))

    def claims(self) -> Iterator[tuple[uuid.UUID, dict[str, Any]]]:
        first = int(ipaddress.IPv4Address("10.1.0.0"))
        for number, one in enumerate(self.machines):
            yield (
                one,
                {
                    "network_id": self.network.id,
                    "ipv4": str(ipaddress.IPv4Address(first + number)),
                    "mac": f"00:16:3e:{number >> 16:02x}:{number >> 8 & 255:02x}:{number & 255:02x}",
                },
            )

    def make_quota(self) -> None:
        limits = Figures(LOTS, LOTS, LOTS * 100, LOTS)
        for project in Project.objects.all():
            quotas.set_limits(project=project, limits=limits, staff=None, now=NOW)
        quota, count = Quota.objects.get(project=self.lab), self.count
        running = sum(self.power(number) == "RUNNING" for number in range(count))
        Quota.objects.filter(id=quota.id).update(
            machines_reserved=count,
            vcpus_reserved=count * VCPUS,
            memory_mib_reserved=count * MEMORY_MIB,
            disk_gib_reserved=count * DISK_GIB,
            running_vcpus_reserved=running * VCPUS,
            running_memory_mib_reserved=running * MEMORY_MIB,
        )
        shape = {"vcpus": VCPUS, "memory_mib": MEMORY_MIB, "disk_gib": DISK_GIB, "quota_id": quota.id}
        held = zip(self.make_ids(count), enumerate(self.machines), strict=True)
        store(
            Reservation,
            (
                {
                    **shape,
                    "id": share,
                    "holder": one,
                    "status": "COMMITTED",
                    "is_running": self.power(number) == "RUNNING",
                    "created_at": NOW,
                }
                for share, (number, one) in held
            ),
        )
        store(
            QuotaEntry,
            (
                {
                    **shape,
                    "holder": one,
                    "kind": "RESERVE",
                    "machines": 1,
                    "running_vcpus": VCPUS * (self.power(number) == "RUNNING"),
                    "running_memory_mib": MEMORY_MIB * (self.power(number) == "RUNNING"),
                    "at": NOW,
                }
                for number, one in enumerate(self.machines)
            ),
        )

    def make_history(self) -> None:
        self.jobs = self.make_ids(self.count)
        store(
            Job,
            (
                {
                    "id": job,
                    "kind": "CREATE",
                    "machine_id": one,
                    "host_id": self.host_of(number),
                    "requested_by_id": self.alice.id,
                    "status": "FAILED" if number % 50 == 0 else "SUCCEEDED",
                    "fence": 1,
                    "progress": 100,
                    "created_at": NOW - timedelta(seconds=number),
                    "finished_at": NOW - timedelta(seconds=number),
                }
                for number, (job, one) in enumerate(zip(self.jobs, self.machines, strict=True))
            ),
        )
        store(
            JobEvent,
            (
                {
                    "job_id": self.jobs[number % self.count],
                    "at": NOW,
                    "event": "STEP",
                    "step": "DISK",
                    "progress": number % 100,
                }
                for number in range(self.events)
            ),
        )
        store(
            MachineMove,
            ({"machine_id": one, "at": NOW, "event": "BUILT", "to_state": "READY"} for one in self.machines),
        )
        store(
            AuditEntry,
            (
                {
                    "at": NOW,
                    "actor_id": self.alice.id,
                    "action": "CREATE_MACHINE",
                    "target_kind": "machine",
                    "target_id": str(one),
                    "target_name": f"m{number}",
                }
                for number, one in enumerate(self.machines)
            ),
        )

    def addresses(self) -> list[tuple[str, str]]:
        """Return (user, URL) pairs."""
        machine, host, silent = self.machines[self.count // 2], "xen0", f"xen{len(self.hosts) - 1}"
        one, job = f"/machines/{machine}/", f"/jobs/{self.jobs[0]}/"
        last = max(1, self.count // 50)
        both = [
            *(
                "/",
                "/machines/",
                "/machines/?q=m77",
                "/machines/?power=OFF&sort=name",
                f"/machines/?page={last}",
            ),
            *(
                "/machines/new/",
                one,
                f"{one}live/",
                f"{one}jobs/",
                f"{one}settings/",
                f"{one}console/",
                f"{one}delete/",
            ),
            *(
                "/quota/?project=lab",
                "/requests/",
                "/jobs/",
                "/jobs/?status=FAILED",
                f"/jobs/?page={last}",
                job,
            ),
            *("/images/", "/networks/", "/badges/", f"{job}live/"),
            *(
                f"/api/v1/{name}/"
                for name in ("me", "machines", "jobs", "requests", "quotas", "quota-requests", "audit")
            ),
            *(f"/api/v1/{name}/" for name in ("sizes", "networks")),
            f"/api/v1/quotas/{self.lab.id}/",
            *("/api/v1/machines/?q=m77&power=OFF", f"/api/v1{one}", f"/api/v1{job}", f"/api/v1{job}events/"),
            *("/api/v1/images/", "/api/v1/tokens/"),
        ]
        staff = [
            *(
                "/approvals/",
                "/hosts/",
                f"/hosts/{host}/",
                f"/hosts/{host}/drain/",
                "/balance/",
                "/differences/",
                f"/differences/?host={host}",
            ),
            *(
                "/audit/",
                "/api/v1/restore/",
                f"{one}move/",
                "/add-host/",
                "/api/v1/hosts/",
                "/api/v1/pools/",
                "/api/v1/balance/",
            ),
            *(f"/api/v1/hosts/{host}/drain/", f"/api/v1{one}migrate/", "/machines/?host=xen0"),
            *(f"/hosts/{silent}/", f"/hosts/{silent}/restart-elsewhere/", f"/api/v1/hosts/{silent}/fence/"),
            *(f"/hosts/?page={max(1, len(self.hosts) // 50)}", f"/api/v1/hosts/{host}/"),
        ]
        return [("alice", path) for path in both] + [("dana", path) for path in [*both, *staff]]


def measure(client: Client, path: str) -> dict[str, Any]:
    times = []
    for _ in range(TURNS):
        started = time.perf_counter()
        answer = client.get(path)
        content = answer.content
        times.append(time.perf_counter() - started)
        if sum(times) > MOST_SECONDS:
            break  # far slower than the goal: a dozen requests would show the same
    with CaptureQueriesContext(connection) as asked:
        answer = client.get(path)
    return {
        "seconds": times[1:] or times,
        "bytes": len(content),
        "status": answer.status_code,
        "queries": len(asked),
    }


def main(machines: int, hosts: int, events: int) -> None:
    call_command("migrate", interactive=False, verbosity=0)
    started = time.perf_counter()
    world = World(machines, hosts, events)
    made = time.perf_counter() - started
    clients = {user.username: Client() for user in (world.alice, world.dana)}
    for name, client in clients.items():
        client.force_login(getattr(world, name), backend=settings.AUTHENTICATION_BACKENDS[0])
    started = time.perf_counter()
    # as the periodic task does
    fleet_look.compare_all(now=NOW)
    plans.keep_proposals(now=NOW)
    computed = time.perf_counter() - started
    found = {f"{who} {path}": measure(clients[who], path) for who, path in world.addresses()}
    print(json.dumps({"made_seconds": made, "computed_seconds": computed, "found": found}))


if __name__ == "__main__":
    with override_settings(ALLOWED_HOSTS=["testserver"]):
        main(*map(int, sys.argv[1:]))

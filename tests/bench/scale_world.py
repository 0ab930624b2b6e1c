"""One world of the scale benchmark: machines, hosts and events as rows, and every page and list asked for.

A process of its own with the portal's settings: `python -m tests.bench.scale_world MACHINES HOSTS EVENTS`.
It prints one JSON line: for each address the times in seconds, the bytes, the status and the number of
queries.
"""

import ipaddress
import json
import random
import sys
import time
import uuid
from collections.abc import Iterable, Iterator
from datetime import timedelta
from itertools import islice
from typing import Any

import django

django.setup()

from django.conf import settings  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection, models  # noqa: E402
from django.test import Client, override_settings  # noqa: E402
from django.test.utils import CaptureQueriesContext  # noqa: E402

from webxen.accounts import operations as accounts  # noqa: E402
from webxen.accounts.models import Project, User  # noqa: E402
from webxen.core import clock  # noqa: E402
from webxen.core.models import AuditEntry  # noqa: E402
from webxen.inventory.models import Address, Host, Image, Network, Pool, Size  # noqa: E402
from webxen.jobs.models import Job, JobEvent  # noqa: E402
from webxen.machines.models import Disk, Interface, Machine, MachineMove  # noqa: E402
from webxen.quotas import operations as quotas  # noqa: E402
from webxen.quotas.models import Quota, QuotaEntry, Reservation  # noqa: E402
from webxen.quotas.shortage import Figures  # noqa: E402

CHUNK = 2000
MEMORY_MIB, DISK_GIB, VCPUS = 256, 1, 1
NOW = clock.now()
LOTS = 10_000_000
TURNS = 12


def store(model: type[models.Model], rows: Iterable[models.Model]) -> None:
    """In pieces, so that a million rows need no million objects at a time."""
    waiting = iter(rows)
    while piece := list(islice(waiting, CHUNK)):
        model._default_manager.bulk_create(piece)


class World:
    """The rows, and the addresses asked for."""

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
        self.make_hosts(hosts)
        self.make_machines()
        self.make_quota()
        self.make_history()

    def make_hosts(self, count: int) -> None:
        facts = {"nr_cpus": "64", "total_memory": "1048576", "free_memory": "524288", "xen_version": "4.20.0"}
        self.hosts = [
            Host(
                name=f"xen{number}",
                public_key="",
                facts=facts,
                bridges=["xenbr0"],
                images={"m.ext4": "0" * 64},
                domains=[],
                observed_at=NOW,
                created_at=NOW,
                memory_mib=1 << 20,
            )
            for number in range(count)
        ]
        for number in range(self.count):
            host = self.hosts[number % count]
            host.memory_reserved_mib += MEMORY_MIB
        store(Host, self.hosts)
        store(
            Pool,
            (
                Pool(host=host, name="local", kind="FILE", total_mib=4 << 20, free_mib=2 << 20)
                for host in self.hosts
            ),
        )

    def make_machines(self) -> None:
        self.machines = [
            Machine(
                id=uuid.UUID(int=self.random.getrandbits(128), version=4),
                name=f"m{number}",
                project=self.lab,
                owner=self.alice,
                host=self.hosts[number % len(self.hosts)],
                image=self.image,
                state="READY",
                power="RUNNING" if number % 3 else "OFF",
                power_seen_at=NOW,
                vcpus=VCPUS,
                memory_mib=MEMORY_MIB,
                fence=1,
                config="name = 'x'\n" * 20,
                created_at=NOW - timedelta(seconds=number),
            )
            for number in range(self.count)
        ]
        store(Machine, self.machines)
        store(Disk, (Disk(machine=one, size_gib=DISK_GIB, vdev="xvda") for one in self.machines))
        first = int(ipaddress.IPv4Address("10.1.0.0"))
        addresses = [
            (
                one,
                str(ipaddress.IPv4Address(first + number)),
                f"00:16:3e:{number >> 16:02x}:{number >> 8 & 255:02x}:{number & 255:02x}",
            )
            for number, one in enumerate(self.machines)
        ]
        store(
            Interface,
            (Interface(machine=one, network=self.network, mac=mac, ipv4=ip) for one, ip, mac in addresses),
        )
        store(
            Address,
            (Address(network=self.network, holder=one.id, mac=mac, ipv4=ip) for one, ip, mac in addresses),
        )

    def make_quota(self) -> None:
        limits = Figures(LOTS, LOTS, LOTS * 100, LOTS)
        for project in Project.objects.all():
            quotas.set_limits(project=project, limits=limits, staff=None, now=NOW)
        quota, count = Quota.objects.get(project=self.lab), self.count
        running = sum(one.power == "RUNNING" for one in self.machines)
        Quota.objects.filter(id=quota.id).update(
            machines_reserved=count,
            vcpus_reserved=count * VCPUS,
            memory_mib_reserved=count * MEMORY_MIB,
            disk_gib_reserved=count * DISK_GIB,
            running_vcpus_reserved=running * VCPUS,
            running_memory_mib_reserved=running * MEMORY_MIB,
        )
        shape = {"vcpus": VCPUS, "memory_mib": MEMORY_MIB, "disk_gib": DISK_GIB}
        store(
            Reservation,
            (
                Reservation(
                    quota=quota,
                    holder=one.id,
                    status="COMMITTED",
                    is_running=one.power == "RUNNING",
                    created_at=NOW,
                    **shape,
                )
                for one in self.machines
            ),
        )
        store(
            QuotaEntry,
            (
                QuotaEntry(
                    quota=quota,
                    holder=one.id,
                    kind="RESERVE",
                    machines=1,
                    running_vcpus=VCPUS * (one.power == "RUNNING"),
                    running_memory_mib=MEMORY_MIB * (one.power == "RUNNING"),
                    at=NOW,
                    **shape,
                )
                for one in self.machines
            ),
        )

    def make_history(self) -> None:
        jobs = [
            Job(
                kind="CREATE",
                machine=one,
                host=one.host,
                requested_by=self.alice,
                status="FAILED" if number % 50 == 0 else "SUCCEEDED",
                fence=1,
                progress=100,
                created_at=one.created_at,
                finished_at=one.created_at,
            )
            for number, one in enumerate(self.machines)
        ]
        store(Job, jobs)
        self.job = jobs[0]
        store(JobEvent, self.job_events(jobs))
        store(
            MachineMove,
            (MachineMove(machine=one, at=NOW, event="BUILT", to_state="READY") for one in self.machines),
        )
        store(
            AuditEntry,
            (
                AuditEntry(
                    at=NOW,
                    actor=self.alice,
                    action="CREATE_MACHINE",
                    target_kind="machine",
                    target_id=str(one.id),
                    target_name=one.name,
                )
                for one in self.machines
            ),
        )

    def job_events(self, jobs: list[Job]) -> Iterator[JobEvent]:
        for number in range(self.events):
            yield JobEvent(
                job=jobs[number % len(jobs)], at=NOW, event="STEP", step="DISK", progress=number % 100
            )

    def addresses(self) -> list[tuple[str, str]]:
        """(who asks, for what)."""
        machine, host = self.machines[len(self.machines) // 2], self.hosts[0].name
        one, job = f"/machines/{machine.id}/", f"/jobs/{self.job.id}/"
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
            *("/images/", "/networks/"),
            *(
                f"/api/v1/{name}/"
                for name in ("me", "machines", "jobs", "requests", "quotas", "quota-requests", "audit")
            ),
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
            ),
            *("/audit/", f"{one}move/", "/add-host/", "/api/v1/hosts/", "/api/v1/pools/", "/api/v1/balance/"),
            *(f"/api/v1/hosts/{host}/drain/", f"/api/v1{one}migrate/", "/machines/?host=xen0"),
        ]
        return [("alice", path) for path in both] + [("dana", path) for path in [*both, *staff]]


def measure(client: Client, path: str) -> dict[str, Any]:
    times = []
    for turn in range(TURNS):
        started = time.perf_counter()
        answer = client.get(path)
        content = answer.content
        times.append(time.perf_counter() - started)
        if turn and sum(times) > 20:
            break  # far beyond the goal: a dozen turns would say the same
    with CaptureQueriesContext(connection) as asked:
        client.get(path)
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
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")
    else:
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
    made = time.perf_counter() - started
    clients = {user.username: Client() for user in (world.alice, world.dana)}
    for name, client in clients.items():
        client.force_login(getattr(world, name), backend=settings.AUTHENTICATION_BACKENDS[0])
    found = {f"{who} {path}": measure(clients[who], path) for who, path in world.addresses()}
    print(json.dumps({"made_seconds": made, "found": found}))


if __name__ == "__main__":
    with override_settings(ALLOWED_HOSTS=["testserver"]):
        main(*map(int, sys.argv[1:]))

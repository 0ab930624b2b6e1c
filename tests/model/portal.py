"""The real portal over a database, as used by the model: operations, periodic tasks, message handling.

Calls webxen and reads its rows. Every call may be made by a web process that dies between the commit and the
sending.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.test import TestCase
from kombu.transport import memory

from tests.fixtures import Mailbox, use_broker
from tests.model import simulated_hosts
from webxen.accounts import operations as accounts
from webxen.accounts.models import User
from webxen.core import clock
from webxen.core.errors import UserError
from webxen.inbox import tasks
from webxen.inventory import operations as inventory
from webxen.inventory.models import Host, Image, Network
from webxen.jobs import operations
from webxen.jobs.models import Job
from webxen.machines import operations as machines
from webxen.machines.models import Machine
from webxen.quotas import operations as quotas
from webxen.quotas.models import Quota, Reservation
from webxen.quotas.shortage import Figures
from worker import contract

VERBS: dict[str, Callable[..., Job]] = {
    **{
        verb.kind: functools.partial(operations.act, action=verb.action) for verb in contract.ACTIONS.values()
    },
    "DELETE": operations.delete_machine,
}
MEMORY_MIB = 256


class Portal:
    """The portal with one project of alice's, and both hosts accepted."""

    def __init__(self, mailbox: Mailbox, host_keys: dict[str, bytes]) -> None:
        self.mailbox = mailbox
        self.begin({})
        now = clock.now()
        self.alice = User.objects.create_user(username="alice", email="alice@example.org")
        self.dana = User.objects.create_user(username="dana", email="dana@example.org", is_staff=True)
        self.lab = accounts.create_project(slug="lab", name="lab", owner=self.alice, members=(), now=now)
        # quota for exactly three machines
        limits = Figures(machines=3, vcpus=8, memory_mib=3 * MEMORY_MIB, disk_gib=8)
        quotas.set_limits(project=self.lab, limits=limits, staff=None, now=now)
        for name, public_key in host_keys.items():
            inventory.accept_host(name=name, public_key=public_key.decode(), now=now)
        self.lan = Network.objects.create(
            name="lan",
            bridge="xenbr0",
            cidr="10.0.2.0/24",
            gateway="10.0.2.2",
            nameserver="10.0.2.3",
            first="10.0.2.100",
            last="10.0.2.199",
        )
        self.image = Image.objects.create(
            slug="model",
            name="Model",
            file=simulated_hosts.IMAGE_FILE,
            sha256=simulated_hosts.IMAGE_SHA256,
            format="DISK",
            seed="NONE",
            kernel="vmlinuz",
            min_disk_mib=1,
        )

    def begin(self, sites: dict[str, simulated_hosts.Site]) -> None:
        """Start a new history; the rows of the previous one are rolled back."""
        self.sites = sites
        self.archive: list[tuple[str, str]] = []
        self.heard: list[str] = []
        self.is_broker_away = False
        #: alice's requests, by id
        self.asked: list[str] = []
        self.is_touched = True

    # --- actions ---------------------------------------------------------------------------------

    @contextmanager
    def _call(self, *, dies_before_sending: bool = False) -> Iterator[None]:
        """Run a call of the portal; afterwards its messages are queued for delivery."""
        self.is_touched = True
        with TestCase.captureOnCommitCallbacks(execute=not dies_before_sending):
            yield
        self.collect()

    def collect(self) -> None:
        if self.is_broker_away:
            return
        for site in self.sites.values():
            waiting = memory.Channel.queues.get(contract.queue_for(site.name))
            if waiting is None or waiting.empty():
                continue  # checking costs a connection
            for envelope in self.mailbox.take(site.name):
                site.orders.append(envelope)
                self.archive.append((site.name, envelope))

    def create(self, name: str, *, host_name: str | None, dies: bool) -> str:
        try:
            with self._call(dies_before_sending=dies):
                job = operations.create_machine(
                    project=self.lab,
                    owner=self.alice,
                    name=name,
                    image=self.image,
                    network=self.lan,
                    vcpus=1,
                    memory_mib=MEMORY_MIB,
                    disk_gib=1,
                    seed={"ssh_keys": [], "password_hash": "$6$salt$hash", "user_data": ""},
                    host_name=host_name,
                    requested_by=self.alice,
                    now=clock.now(),
                )
        except UserError as refused:
            return refused.code
        self.asked.append(str(job.machine_id))
        return ""

    def act(self, kind: str, machine_id: str, *, dies: bool = False) -> str:
        """Request a verb as alice; return the error code, "" if it was accepted."""
        try:
            with self._call(dies_before_sending=dies):
                VERBS[kind](user=self.alice, machine_id=machine_id, now=clock.now())
        except UserError as refused:
            return refused.code
        return ""

    def cancel(self, machine_id: str) -> str:
        job = Job.objects.filter(machine=machine_id, status__in=Job.OPEN).first()
        if job is None:
            return ""
        try:
            with self._call():
                operations.cancel_job(user=self.alice, job_id=job.id, now=clock.now())
        except UserError as refused:
            return refused.code
        return ""

    def rename(self, machine_id: str, name: str) -> None:
        try:
            with self._call():
                machines.rename(user=self.alice, machine_id=machine_id, name=name, now=clock.now())  # type: ignore[arg-type]
        except UserError:
            return

    def sweep(self) -> None:
        with self._call():
            operations.sweep(now=clock.now())

    def hear(self, envelope: str) -> None:
        """Handle a host's message, as the reports process does."""
        self.heard.append(envelope)
        is_observation = '"kind\\":\\"OBSERVATION' in envelope
        with self._call():
            (tasks.receive_observation if is_observation else tasks.receive_report)(envelope)

    def break_broker(self) -> None:
        self.is_broker_away = True
        use_broker("redis+socket:///nowhere/redis.sock")

    def mend_broker(self) -> None:
        self.is_broker_away = False
        use_broker("memory://localhost")

    # --- queries ---------------------------------------------------------------------------------

    def machines(self) -> list[Machine]:
        return list(Machine.objects.select_related("host").order_by("created_at", "name"))

    def open_jobs(self) -> list[Job]:
        return list(Job.objects.filter(status__in=Job.OPEN).select_related("machine"))

    def has_asked_to_delete(self, machine_id: str) -> bool:
        return Job.objects.filter(machine=machine_id, kind="DELETE").exclude(status="CANCELLED").exists()

    def ledger(self) -> tuple[dict[str, int], dict[str, int], dict[str, int]]:
        """Return the limits, the reserved columns, and the sum of the open reservations."""
        names = ("machines", "vcpus", "memory_mib", "disk_gib")
        row = Quota.objects.values().get(project=self.lab)
        held = list(Reservation.objects.exclude(status="RELEASED").values("vcpus", "memory_mib", "disk_gib"))
        sums = {name: sum(item.get(name, 1) for item in held) for name in names}
        return (
            {name: row[f"{name}_limit"] for name in names},
            {name: row[f"{name}_reserved"] for name in names},
            sums,
        )

    def memory(self) -> dict[str, tuple[int, int]]:
        """Return for each host the reserved memory, and the sum over its machines with open reservations."""
        holders = set(Reservation.objects.exclude(status="RELEASED").values_list("holder", flat=True))
        needed: dict[str, int] = {}
        for holder, host, memory_mib in Machine.objects.values_list("id", "host__name", "memory_mib"):
            needed[host] = needed.get(host, 0) + (memory_mib if holder in holders else 0)
        promised = Host.objects.values_list("name", "memory_reserved_mib")
        return {name: (mib, needed.get(name, 0)) for name, mib in promised}

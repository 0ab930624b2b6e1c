"""The real portal over a database, as the model's histories use it: its verbs, its clock's work, its door.

Lives here: calls of webxen and what is read back out of its rows. Every call may be made by a web process
that dies between its commit and the sending.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db.models import Sum
from django.test import TestCase

from tests.model import plant
from tests.people import Mailbox, use_broker
from webxen.accounts import operations as accounts
from webxen.accounts.models import User
from webxen.core import clock
from webxen.core.errors import UserError
from webxen.inventory import operations as inventory
from webxen.inventory.models import Host, Image, Network
from webxen.jobs import operations, tasks
from webxen.jobs.models import Job
from webxen.machines import operations as machines
from webxen.machines.models import Machine
from webxen.quotas import operations as quotas
from webxen.quotas.models import Quota, Reservation
from webxen.quotas.shortage import Figures

VERBS: dict[str, Callable[..., Job]] = {
    "START": operations.start_machine,
    "SHUTDOWN": operations.shutdown_machine,
    "POWEROFF": operations.poweroff_machine,
    "REBOOT": operations.reboot_machine,
    "DELETE": operations.delete_machine,
}
MEMORY_MIB = 256


class Portal:
    """The portal with one project of alice's, and both hosts accepted."""

    def __init__(self, mailbox: Mailbox, sites: dict[str, plant.Site]) -> None:
        self.mailbox, self.sites = mailbox, sites
        self.archive: list[tuple[str, str]] = []
        self.heard: list[str] = []
        self.is_broker_away = False
        #: what alice asked for, by id
        self.asked: list[str] = []
        now = clock.now()
        self.alice = User.objects.create_user(username="alice", email="alice@example.org")
        self.dana = User.objects.create_user(username="dana", email="dana@example.org", is_staff=True)
        self.lab = accounts.create_project(slug="lab", name="lab", owner=self.alice, members=(), now=now)
        # room for three machines and no more
        limits = Figures(machines=3, vcpus=8, memory_mib=3 * MEMORY_MIB, disk_gib=8)
        quotas.set_limits(project=self.lab, limits=limits, staff=None, now=now)
        for site in sites.values():
            inventory.accept_host(name=site.name, public_key=site.public.decode(), now=now)
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
            file="model.img",
            sha256=plant.IMAGE_SHA256,
            format="DISK",
            seed="NONE",
            kernel="vmlinuz",
            min_disk_mib=1,
        )

    # --- doing -----------------------------------------------------------------------------------

    @contextmanager
    def _call(self, *, dies_before_sending: bool = False) -> Iterator[None]:
        """One call by a process of the portal; what it sends is on the wires afterwards."""
        with TestCase.captureOnCommitCallbacks(execute=not dies_before_sending):
            yield
        self.collect()

    def collect(self) -> None:
        if self.is_broker_away:
            return
        for site in self.sites.values():
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
        """Ask for a verb as alice; the code of the refusal, "" when it was taken."""
        try:
            with self._call(dies_before_sending=dies):
                VERBS[kind](user=self.alice, machine_id=machine_id, now=clock.now())
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
        """Take what a host sent, as Celery hands it to the door for it."""
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

    # --- looking ---------------------------------------------------------------------------------

    def machines(self) -> list[Machine]:
        return list(Machine.objects.select_related("host").order_by("created_at", "name"))

    def open_jobs(self) -> list[Job]:
        return list(Job.objects.filter(status__in=Job.OPEN).select_related("machine"))

    def has_asked_to_delete(self, machine_id: str) -> bool:
        return Job.objects.filter(machine=machine_id, kind="DELETE").exclude(status="CANCELLED").exists()

    def ledger(self) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """Limits, what the quota says is reserved, and the sum of the open reservations."""
        quota = Quota.objects.get(project=self.lab)
        held = Reservation.objects.filter(quota=quota).exclude(status="RELEASED")
        sums = held.aggregate(vcpus=Sum("vcpus"), memory_mib=Sum("memory_mib"), disk_gib=Sum("disk_gib"))
        names = ("machines", "vcpus", "memory_mib", "disk_gib")
        limits = {name: getattr(quota, f"{name}_limit") for name in names}
        reserved = {name: getattr(quota, f"{name}_reserved") for name in names}
        return limits, reserved, {"machines": held.count(), **{key: value or 0 for key, value in sums.items()}}

    def memory(self) -> dict[str, tuple[int, int]]:
        """For each host what is promised, and what its machines with an open reservation need."""
        holders = set(Reservation.objects.exclude(status="RELEASED").values_list("holder", flat=True))
        return {
            host.name: (
                host.memory_reserved_mib,
                sum(item.memory_mib for item in host.machines.all() if item.id in holders),
            )
            for host in Host.objects.all()
        }

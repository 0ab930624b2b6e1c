"""Fixtures of the portal's tests.

alice owns project "lab" and bob is a member; charlie belongs only to project "elsewhere"; dana is staff.
There is one host xen1, one image, one size and one network with addresses.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.conf import settings as django_settings
from kombu import Queue
from kombu import transport as kombu_transport
from kombu.transport import memory

from tests.fixture_cache import shared
from webxen.accounts import operations as accounts
from webxen.accounts.models import Project, User
from webxen.approvals import operations as approvals
from webxen.approvals import quota_increase, requested_spec
from webxen.approvals.models import MachineRequest, QuotaRequest
from webxen.celery import app
from webxen.core import portal_key as core_portal_key
from webxen.core import transport
from webxen.inventory import operations as inventory
from webxen.inventory.models import Host, Image, Network, Size
from webxen.jobs import observing, operations
from webxen.jobs.models import Job
from webxen.machines.models import Machine
from webxen.quotas import operations as quotas
from webxen.quotas.shortage import Figures
from worker import contract

#: the time at which tests run
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
PASSWORD = "correct horse battery staple"


@pytest.fixture
def now() -> datetime:
    return NOW


@pytest.fixture(scope="session", autouse=True)
def portal_key() -> None:
    """The key that signs orders, in the tests' folder."""
    core_portal_key.make_portal_key(django_settings.WEBXEN_PORTAL_KEY_FILE)


# --- users -------------------------------------------------------------------------------------


def _person(name: str, *, is_staff: bool = False) -> User:
    return User.objects.create_user(
        username=name, password=PASSWORD, email=f"{name}@example.org", is_staff=is_staff
    )


@shared
def alice() -> User:
    return _person("alice")


@shared
def bob() -> User:
    return _person("bob")


@shared
def charlie() -> User:
    return _person("charlie")


@shared
def dana() -> User:
    return _person("dana", is_staff=True)


def _project(slug: str, owner: User, *members: User) -> Project:
    project = accounts.create_project(slug=slug, name=slug, owner=owner, members=members, now=NOW)
    limits = Figures(machines=10, vcpus=16, memory_mib=4096, disk_gib=100)
    quotas.set_limits(project=project, limits=limits, staff=None, now=NOW)
    return project


@shared
def lab(alice: User, bob: User) -> Project:
    return _project("lab", alice, bob)


@shared
def elsewhere(charlie: User) -> Project:
    return _project("elsewhere", charlie)


# --- objects -----------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def xen1_key() -> Ed25519PrivateKey:
    """The key that xen1's worker signs with."""
    return Ed25519PrivateKey.generate()


def public_pem(key: Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def observe(
    host: Host, *, domains: tuple[contract.DomainSeen, ...] | None = (), now: datetime = NOW, **facts: str
) -> contract.Observation:
    """Send an observation of the host: 8 GiB free, 200 GiB of disk, the usual bridge."""
    seen = contract.Observation(
        host=host.name,
        facts={
            "host": host.name,
            "release": "6.12.57+deb13-amd64",
            "nr_cpus": "4",
            "total_memory": "9000",
            "free_memory": "8192",
            "xen_major": "4",
            "xen_minor": "20",
            **facts,
        },
        pools=(contract.PoolSeen("local", "FILE", 200 * 1024, 200 * 1024),),
        bridges=("xenbr0",),
        domains=domains,
        images={"minimal-1.ext4": "0" * 64},
        worker_version="0.1.0",
    )
    observing.apply_observation(host=host, observation=seen, now=now)
    host.refresh_from_db()
    return seen


def heard_until(now: datetime) -> None:
    """Set all hosts to have reported without a gap until now."""
    Host.objects.exclude(observed_at=None).update(observed_at=now)


@shared
def xen1(xen1_key: Ed25519PrivateKey) -> Host:
    host = inventory.accept_host(name="xen1", public_key=public_pem(xen1_key), now=NOW)
    observe(host)
    return host


@shared
def minimal() -> Image:
    return Image.objects.create(
        slug="minimal",
        name="Minimal",
        description="A small Linux for tests",
        file="minimal-1.ext4",
        sha256="0" * 64,
        format="FILESYSTEM",
        kernel="vmlinux",
        ramdisk="initrd",
        min_disk_mib=24,
        min_memory_mib=128,
    )


@shared
def small() -> Size:
    return Size.objects.create(slug="small", name="Small", vcpus=1, memory_mib=256, disk_gib=1)


@shared
def lan() -> Network:
    return Network.objects.create(
        name="lan",
        bridge="xenbr0",
        cidr="10.0.2.0/24",
        gateway="10.0.2.2",
        nameserver="10.0.2.3",
        first="10.0.2.100",
        last="10.0.2.199",
    )


# --- events ------------------------------------------------------------------------------------

MakeMachine = Callable[..., Machine]


def report(job: Job, event: str, **news: Any) -> bool:
    """Apply a report of the job's host."""
    job.refresh_from_db()
    assert job.host is not None
    sequence, at = news.pop("sequence", job.sequence + 1), news.pop("now", NOW)
    said = contract.Report(
        job_id=str(job.id),
        machine_id=str(job.machine_id),
        event=event,  # type: ignore[arg-type]
        sequence=sequence,
        **news,
    )
    moved = operations.apply_report(host=job.host, report=said, now=at)
    job.refresh_from_db()
    return moved


def orderer(*, lab: Project, alice: User, minimal: Image, small: Size, lan: Network) -> Callable[..., Job]:
    def order(name: str = "web1", **changed: Any) -> Job:
        fields: dict[str, Any] = {
            "project": lab,
            "owner": alice,
            "name": name,
            "image": minimal,
            "network": lan,
            "vcpus": small.vcpus,
            "memory_mib": small.memory_mib,
            "disk_gib": small.disk_gib,
            "seed": {"ssh_keys": [], "password_hash": "$6$salt$hash", "user_data": ""},
            "host_name": None,
            "requested_by": alice,
            "now": NOW,
        }
        return operations.create_machine(**{**fields, **changed})

    return order


def _maker(order: Callable[..., Job]) -> MakeMachine:
    def make(name: str = "web1", **changed: Any) -> Machine:
        job = order(name, **changed)
        report(job, "STARTED")
        report(job, "SUCCEEDED", power="RUNNING")
        return Machine.objects.get(id=job.machine_id)

    return make


@pytest.fixture
def order_machine(
    lab: Project, alice: User, xen1: Host, minimal: Image, small: Size, lan: Network
) -> Callable[..., Job]:
    """Order a machine of alice's in project lab; return its create job, not started by the host yet."""
    return orderer(lab=lab, alice=alice, minimal=minimal, small=small, lan=lan)


@pytest.fixture
def make_machine(order_machine: Callable[..., Job]) -> MakeMachine:
    """Create a machine of alice's that is READY and RUNNING on xen1."""
    return _maker(order_machine)


@shared
def web1(lab: Project, alice: User, xen1: Host, minimal: Image, small: Size, lan: Network) -> Machine:
    return _maker(orderer(lab=lab, alice=alice, minimal=minimal, small=small, lan=lan))("web1")


@shared
def pending(lab: Project, alice: User, minimal: Image, small: Size, lan: Network) -> MachineRequest:
    """A request of alice's that exceeds her quota."""
    untrusted = {"name": "big1", "image": "minimal", "vcpus": 2, "memory_mib": 8000, "disk_gib": 2}
    return approvals.submit(user=alice, wish=requested_spec.parse(untrusted=untrusted, user=alice), now=NOW)


@shared
def more_wanted(lab: Project, alice: User) -> QuotaRequest:
    """A quota request of alice's."""
    untrusted = {"project": "lab", "reason": "for the exhibition", "vcpus": 20}
    return approvals.ask_for_quota(
        user=alice, wish=quota_increase.parse(untrusted=untrusted, user=alice), now=NOW
    )


class Mailbox:
    """The messages on the hosts' queues, opened as the hosts would open them."""

    def orders(self, host: str) -> list[contract.Order]:
        """Take all orders from this host's queue."""
        return [opened.message for opened in self.envelopes(host)]  # type: ignore[misc]

    def envelopes(self, host: str) -> list[contract.Opened]:
        portal = core_portal_key.public_pem(django_settings.WEBXEN_PORTAL_KEY_FILE)
        return [
            contract.open_envelope(
                text, host=host, verify=lambda _, *rest: core_portal_key.is_signed_by(portal, *rest), now=0
            )
            for text in self.take(host)
        ]

    def take(self, host: str) -> list[str]:
        taken: list[str] = []
        with app.connection_for_read() as connection:
            queue = Queue(contract.queue_for(host), channel=connection.default_channel)
            while message := queue.get(no_ack=True):
                taken.append(message.payload[0][0])
        return taken


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    """An in-memory broker in place of Redis."""
    before = app.conf.broker_url
    memory.Transport.global_state.clear()
    memory.Channel.queues.clear()
    use_broker("memory://localhost")
    yield Mailbox()
    use_broker(before)


def use_broker(url: str) -> None:
    # a test may have installed the worker's transport in this process
    transport.install(find_fault=partial(contract.find_fault, may_expire=True))
    kombu_transport._transport_cache.clear()
    app.conf.broker_url = url
    app._after_fork()  # drop the pools that have connections to the other broker


def job_of(machine: Machine) -> Job:
    return Job.objects.filter(machine=machine).latest("created_at")

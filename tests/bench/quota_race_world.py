"""Prepare and inspect the data of the quota race, in a process with the portal's settings."""

import json
from typing import Any

import django

django.setup()

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: E402
from django.conf import settings  # noqa: E402

from tests.fixtures import observe, public_pem  # noqa: E402
from webxen.accounts import operations as accounts  # noqa: E402
from webxen.accounts.models import User  # noqa: E402
from webxen.core import clock, portal_key  # noqa: E402
from webxen.inventory import operations as inventory  # noqa: E402
from webxen.inventory.models import Image, Network, Size  # noqa: E402
from webxen.jobs import ledger  # noqa: E402
from webxen.machines.models import Machine  # noqa: E402
from webxen.quotas import operations as quotas  # noqa: E402
from webxen.quotas.models import Quota  # noqa: E402
from webxen.quotas.shortage import Figures  # noqa: E402

MEMBERS = 20
MACHINES = 10


def prepare() -> None:
    """Create a project with twenty users and quota for ten machines; print their tokens."""
    now = clock.now()
    people = [User.objects.create_user(username=f"person{n}") for n in range(MEMBERS)]
    project = accounts.create_project(slug="lab", name="lab", owner=people[0], members=people[1:], now=now)
    limits = Figures(machines=MACHINES, vcpus=10_000, memory_mib=10_000_000, disk_gib=100_000)
    quotas.set_limits(project=project, limits=limits, staff=None, now=now)
    _things(now)
    tokens = [
        accounts.create_token(user=user, name="race", scopes=(), expires_at=None, now=now)[1]
        for user in people
    ]
    print(json.dumps(tokens))


def _things(now: Any) -> None:
    Image.objects.create(
        slug="minimal",
        name="Minimal",
        file="minimal-1.ext4",
        sha256="0" * 64,
        format="FILESYSTEM",
        kernel="vmlinux",
        ramdisk="initrd",
        min_disk_mib=24,
        min_memory_mib=128,
    )
    Size.objects.create(slug="small", name="Small", vcpus=1, memory_mib=256, disk_gib=1)
    Network.objects.create(
        name="lan",
        bridge="xenbr0",
        cidr="10.0.0.0/16",
        gateway="10.0.0.1",
        nameserver="10.0.0.1",
        first="10.0.1.1",
        last="10.0.250.250",
    )
    key = Ed25519PrivateKey.generate()
    portal_key.make_portal_key(settings.WEBXEN_PORTAL_KEY_FILE)
    host = inventory.accept_host(name="xen1", public_key=public_pem(key), now=now)
    observe(host, now=now)


def look() -> None:
    """Print the final state as JSON."""
    seen = {
        "machines": Machine.objects.count(),
        "reserved": Quota.objects.get().machines_reserved,
        "drift": [drift.sentence for drift in ledger.drift()],
    }
    print(json.dumps(seen))

"""manage.py seed_demo: the accounts alice, bob and dana, sizes, images and a network for a trial portal.

`make up` and the compose file run it at every start. It fills an empty database or one that it filled before,
and refuses any other. Later changes are kept: a password, a revoked token.
"""

import json
import os
import secrets
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from webxen.accounts import operations as accounts
from webxen.accounts import tokens
from webxen.accounts.models import Project, User
from webxen.core import clock
from webxen.inventory.models import Image, Network, Size
from webxen.quotas import operations as quotas
from webxen.quotas.models import Quota
from webxen.quotas.shortage import Figures

QUOTA = Figures(machines=10, vcpus=16, memory_mib=4096, disk_gib=100)
#: name → is staff
PEOPLE = {"alice": False, "bob": False, "dana": True}
#: slug, name, vCPUs, MiB, GiB
SIZES = (
    ("tiny", "Tiny", 1, 128, 1),
    ("small", "Small", 1, 256, 2),
    ("medium", "Medium", 2, 512, 8),
    ("large", "Large", 2, 1024, 20),
    ("xlarge", "Extra large", 4, 2048, 40),
)
NETWORK = {
    "bridge": "xenbr0",
    "cidr": "10.0.2.0/24",
    "gateway": "10.0.2.2",
    "nameserver": "10.0.2.3",
    "first": "10.0.2.100",
    "last": "10.0.2.199",
}
IMAGE_FIELDS = (
    "name",
    "description",
    "file",
    "sha256",
    "format",
    "seed",
    "kernel",
    "ramdisk",
    "root",
    "extra",
    "vdev",
    "type",
    "min_disk_mib",
    "min_memory_mib",
)


class Command(BaseCommand):
    help = "Fill a portal for trying out; writes accounts with passwords and tokens to --out."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--images", type=Path, help="JSON list of images")
        parser.add_argument("--out", type=Path, required=True, help="where the accounts are written (0600)")
        parser.add_argument("--password", help="the same password for all, instead of random ones")

    @transaction.atomic
    def handle(self, *args: Any, **options: Any) -> None:
        _refuse_foreign_database()
        known = _read_accounts(options["out"])
        people = [
            _person(name, is_staff, known.get(name, {}), options["password"])
            for name, is_staff in PEOPLE.items()
        ]
        _project()
        for slug, name, vcpus, memory_mib, disk_gib in SIZES:
            Size.objects.get_or_create(
                slug=slug,
                defaults={"name": name, "vcpus": vcpus, "memory_mib": memory_mib, "disk_gib": disk_gib},
            )
        Network.objects.get_or_create(name="lan", defaults=NETWORK)
        if options["images"]:
            _images(options["images"])
        _write(options["out"], {"accounts": people})
        self.stdout.write(f"accounts are in {options['out']}")


def _address(name: str) -> str:
    return f"{name}@example.org"


def _refuse_foreign_database() -> None:
    """Refuse a database with other users: the passwords of demo accounts are stored in a file."""
    if not User.objects.exists():
        return
    seeded = User.objects.filter(username__in=PEOPLE, email__in=[_address(name) for name in PEOPLE])
    if seeded.count() != len(PEOPLE):
        raise CommandError(
            "This database has people of its own, so no demo accounts are made in it. For a demo use an empty"
            " database (WEBXEN_DATABASE_URL, or another WEBXEN_DATA)."
        )


def _read_accounts(path: Path) -> dict[str, dict[str, Any]]:
    try:
        return {entry["username"]: entry for entry in json.loads(path.read_text())["accounts"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _person(name: str, is_staff: bool, known: dict[str, Any], password: str | None) -> dict[str, Any]:  # noqa: FBT001 - private, one caller
    now = clock.now()
    user, is_new = User.objects.get_or_create(
        username=name, defaults={"email": _address(name), "is_staff": is_staff}
    )
    wanted = password or known.get("password") or secrets.token_urlsafe(12)
    if is_new:
        user.set_password(wanted)
        user.save(update_fields=["password"])
        _, token = accounts.create_token(user=user, name="demo", expires_at=None, now=now)
        return {"username": name, "password": wanted, "token": token, "staff": is_staff}
    token = str(known.get("token", ""))
    found = tokens.user_for(secret=token, now=now)
    return {
        "username": name,
        # empty: the password or token has been changed since
        "password": wanted if user.check_password(wanted) else "",
        "token": token if found is not None and found[0] == user else "",
        "staff": is_staff,
    }


def _project() -> None:
    now = clock.now()
    project = Project.objects.filter(slug="lab").first() or accounts.create_project(
        slug="lab",
        name="Lab",
        owner=User.objects.get(username="alice"),
        members=[User.objects.get(username="bob")],
        now=now,
    )
    if not Quota.objects.filter(project=project).exists():
        quotas.set_limits(project=project, limits=QUOTA, staff=None, now=now)


def _images(path: Path) -> None:
    try:
        images = json.loads(path.read_text())
        for image in images:
            defaults = {field: image[field] for field in IMAGE_FIELDS if field in image}
            Image.objects.update_or_create(slug=image["slug"], defaults=defaults)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CommandError(f"{path} is not a list of images: {error!r}") from None


def _write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(content, file, indent=2)
    path.chmod(0o600)

"""Validate a request for a machine. Stores and sends nothing.

All wrong fields are reported together, each with its own message.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import UUID

from django.db import models

from webxen.accounts import queries as accounts
from webxen.accounts.models import Project, User
from webxen.approvals import credentials
from webxen.approvals.credentials import Unusable
from webxen.core.errors import InvalidError, UserError
from webxen.core.messages import Message
from webxen.inventory import queries as inventory
from webxen.inventory.models import Image, Network, Size
from webxen.machines import naming
from webxen.machines import queries as machines

FIELDS = (
    "name",
    "project",
    "image",
    "size",
    "vcpus",
    "memory_mib",
    "disk_gib",
    "network",
    "ssh_keys",
    "password",
    "user_data",
    "reason",
    "if_over_quota",
)
#: lowest and highest value that can be requested
VCPUS = (1, 64)
MEMORY_MIB = (64, 1 << 20)
DISK_GIB = (1, 16_384)
MAX_REASON = 2000
#: what happens to a request over the quota: staff decides, or it is refused at once
ASK, REFUSE = "ask", "refuse"
NO_KEYS: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wish:
    """A validated request for a machine."""

    project: Project
    name: str
    image: Image
    size: Size | None
    network: Network | None
    vcpus: int
    memory_mib: int
    disk_gib: int
    ssh_keys: tuple[str, ...] = ()
    password_hash: str = field(default="", repr=False)
    user_data: str = field(default="", repr=False)
    reason: str = ""
    #: a request over the quota waits for staff; False: it is refused at once
    may_wait_for_quota: bool = True


T = TypeVar("T")
Row = TypeVar("Row", bound=models.Model)


class _Reading:
    """Collects errors by field, so that one answer reports all of them."""

    def __init__(self, untrusted: Mapping[str, object]) -> None:
        self.untrusted = untrusted
        self.fields: dict[str, list[str]] = {}

    def take(self, name: str, read: Callable[[object], T], default: T) -> T:
        """Read a field; if it is wrong, record the error and return the default."""
        try:
            return read(self.untrusted.get(name))
        except Unusable as why:
            self.blame(name, why.args[0])
            return default

    def blame(self, name: str, why: str) -> None:
        self.fields.setdefault(name, []).append(why)


def parse(*, untrusted: Mapping[str, object], user: User) -> Wish:
    """Validate a request. Raises InvalidError with every wrong field, or NameTakenError."""
    reading = _Reading(untrusted)
    for name in sorted(set(untrusted) - set(FIELDS)):
        reading.blame(str(name), Message("NO_SUCH_FIELD"))
    name = reading.take("name", _read_name, "")
    project = reading.take("project", lambda value: _read_project(value, user), None)
    image = reading.take("image", lambda value: _read_image(value, user), None)
    network = reading.take("network", lambda value: _read_network(value, user), None)
    size = reading.take("size", lambda value: _read_size(value, user), None)
    figures = _read_figures(reading, size)
    if image is not None:
        _check_image(reading, image, figures)
    why_taken = ""
    if project is not None and name and machines.is_name_used(project=project, name=name):
        why_taken = naming.taken(name=name, project=project.name)
        reading.blame("name", why_taken)
    ssh_keys = reading.take("ssh_keys", credentials.read_ssh_keys, NO_KEYS)
    password = reading.take("password", credentials.read_password, "")
    user_data = reading.take("user_data", credentials.read_user_data, "")
    reason = reading.take("reason", _read_reason, "")
    if_over_quota = reading.take("if_over_quota", _read_if_over_quota, ASK)
    if project is None or image is None or reading.fields:
        raise _refusal(reading.fields, why_taken)
    return Wish(
        project=project,
        name=name,
        image=image,
        size=size,
        network=network,
        vcpus=figures["vcpus"],
        memory_mib=figures["memory_mib"],
        disk_gib=figures["disk_gib"],
        ssh_keys=ssh_keys,
        # hashed last: a refused request costs no hashing
        password_hash=credentials.hash_password(password) if password else "",
        user_data=user_data,
        reason=reason,
        may_wait_for_quota=if_over_quota == ASK,
    )


def _refusal(fields: dict[str, list[str]], why_taken: str) -> UserError:
    """A taken name alone has its own error code, so that programs can distinguish it from an invalid name."""
    if fields == {"name": [why_taken]}:
        return naming.NameTakenError(why_taken)
    return InvalidError(Message("REQUEST_INVALID"), fields=fields)


def _read_name(untrusted: object) -> str:
    if why := naming.what_is_wrong(untrusted):
        raise Unusable(why)
    return str(untrusted)


def _read_project(untrusted: object, user: User) -> Project | None:
    mine = accounts.projects_of(user=user)
    if untrusted is None or untrusted == "":
        found = list(mine[:2])
        if len(found) == 1:
            return found[0]
        raise Unusable(Message("PROJECT_NEEDED") if found else Message("NO_PROJECT"))
    return _read_row(untrusted, mine, "project")


def _read_image(untrusted: object, user: User) -> Image:
    return _read_row(untrusted, inventory.images_visible_to(user=user), "image")


def _read_network(untrusted: object, user: User) -> Network | None:
    networks = inventory.networks_visible_to(user=user)
    if untrusted is None or untrusted == "":
        found = list(networks[:2])
        if len(found) > 1:
            raise Unusable(Message("NETWORK_NEEDED"))
        return found[0] if found else None
    return _read_row(untrusted, networks, "network", slug="name")


def _read_size(untrusted: object, user: User) -> Size | None:
    if untrusted is None or untrusted == "":
        return None
    return _read_row(untrusted, inventory.sizes_visible_to(user=user), "size")


def _read_row(untrusted: object, rows: models.QuerySet[Row], what: str, *, slug: str = "slug") -> Row:
    """Return a row the user may see by its id or its slug. Raises Unusable."""
    if isinstance(untrusted, UUID):
        untrusted = str(untrusted)
    if untrusted is None or untrusted == "":
        raise Unusable(Message("NAME_THE", resource=what))
    if not isinstance(untrusted, str) or len(untrusted) > 80 or "\0" in untrusted:
        raise Unusable(Message("NAME_THE_BY_ID", resource=what))
    try:
        found = rows.filter(id=UUID(untrusted)).first()
    except ValueError:
        found = rows.filter(**{slug: untrusted}).first()
    if found is None:
        raise Unusable(Message("NO_SUCH", resource=what))
    return found


def _read_figures(reading: _Reading, size: Size | None) -> dict[str, int]:
    names = ("vcpus", "memory_mib", "disk_gib")
    given = [name for name in names if reading.untrusted.get(name) is not None]
    if size is not None:
        for name in given:
            reading.blame(name, Message("SIZE_AND_FIGURES"))
        return {name: getattr(size, name) for name in names}
    if "size" in reading.fields:
        return dict.fromkeys(names, 0)
    if not given:
        reading.blame("size", Message("SIZE_OR_FIGURES"))
        return dict.fromkeys(names, 0)
    bounds = dict(zip(names, (VCPUS, MEMORY_MIB, DISK_GIB), strict=True))
    return {name: reading.take(name, functools.partial(_read_number, *bounds[name]), 0) for name in names}


def _read_number(lowest: int, highest: int, untrusted: object) -> int:
    # type(), not isinstance(): True is an int in Python and must not be accepted as 1
    if type(untrusted) is not int or not lowest <= untrusted <= highest:
        raise Unusable(Message("NUMBER_RANGE", min=lowest, max=highest))
    return untrusted


def _check_image(reading: _Reading, image: Image, figures: Mapping[str, int]) -> None:
    least_disk_gib = -(-image.min_disk_mib // 1024)
    if 0 < figures["memory_mib"] < image.min_memory_mib:
        _blame_figure(
            reading,
            "memory_mib",
            Message("IMAGE_NEEDS_MEMORY", image=image.name, needed_mib=image.min_memory_mib),
        )
    if 0 < figures["disk_gib"] < least_disk_gib:
        _blame_figure(
            reading, "disk_gib", Message("IMAGE_NEEDS_DISK", image=image.name, needed_gib=least_disk_gib)
        )


def _blame_figure(reading: _Reading, name: str, why: str) -> None:
    reading.blame(name if reading.untrusted.get(name) is not None else "size", why)


def _read_reason(untrusted: object) -> str:
    if untrusted is None:
        return ""
    if not isinstance(untrusted, str) or len(untrusted) > MAX_REASON or "\0" in untrusted:
        raise Unusable(Message("REASON_INVALID", max_length=MAX_REASON))
    return untrusted.strip()


def _read_if_over_quota(untrusted: object) -> str:
    if untrusted is None:
        return ASK
    if untrusted not in (ASK, REFUSE):
        raise Unusable(Message("TYPE_WRONG", types=[ASK, REFUSE]))
    return str(untrusted)

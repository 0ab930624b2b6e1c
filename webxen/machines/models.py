"""Models: Machine, Disk, Interface, MachineMove. Only lifecycle.move writes the state."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q

from webxen.accounts.models import Project
from webxen.core.messages import MessageField
from webxen.inventory.models import Host, Image, Network

LISTED = ("state", "power", "host", "owner", "name", "memory_mib", "id")


class Machine(models.Model):
    """A user's machine. Kept apart: state (decided by the portal), open job, power (observed)."""

    class State(models.TextChoices):
        #: accepted, but no host has room yet
        PENDING = "PENDING"
        BUILDING = "BUILDING"
        READY = "READY"
        #: what was created has been cleaned up; it can only be deleted
        FAILED = "FAILED"
        DELETING = "DELETING"
        DELETED = "DELETED"

    class Power(models.TextChoices):
        RUNNING = "RUNNING"
        PAUSED = "PAUSED"
        SUSPENDED = "SUSPENDED"
        OFF = "OFF"
        CRASHED = "CRASHED"
        UNKNOWN = "UNKNOWN"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=63)
    description = models.TextField(blank=True)
    tags = models.JSONField(default=list)
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="machines")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="machines")
    host = models.ForeignKey(Host, null=True, on_delete=models.PROTECT, related_name="machines")
    image = models.ForeignKey(Image, on_delete=models.PROTECT, related_name="machines")
    state = models.CharField(max_length=12, choices=State, default=State.BUILDING)
    #: why it is PENDING or FAILED, one sentence
    state_reason = MessageField(blank=True)
    power = models.CharField(max_length=12, choices=Power, default=Power.UNKNOWN)
    #: when its host last reported its power; while that is UNKNOWN, when `last_power` was reported
    power_seen_at = models.DateTimeField(null=True)
    #: while the power is UNKNOWN: the last known power; empty: never observed
    last_power = models.CharField(max_length=12, blank=True, default="", db_default="")
    vcpus = models.PositiveSmallIntegerField()
    memory_mib = models.PositiveIntegerField()
    #: placement's last result for each host: list of {host, code, numbers}; for staff only
    placement = models.JSONField(null=True)
    #: fencing token: increases with every order for this machine; the host refuses a lower one
    fence = models.PositiveBigIntegerField(default=0)
    #: SeedSpec as JSON (hash of the password, never the password), deleted once the machine is built
    seed = models.JSONField(null=True)
    #: the xl configuration it was last started with, as its host reported it
    config = models.TextField(blank=True)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True)
    deleted_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("-created_at",)
        # with all that lists count, look for and sort by: a page is found without reading a machine
        indexes = (
            models.Index(fields=("project", "-created_at", *LISTED), name="machines_of_a_project"),
            models.Index(fields=("-created_at", *LISTED), name="machines_of_all_projects"),
            models.Index(fields=("owner", "-created_at"), name="machines_of_an_owner"),
        )
        constraints = (
            models.UniqueConstraint(
                fields=("project", "name"),
                condition=~Q(state="DELETED"),
                name="a_name_is_used_once_in_a_project",
            ),
        )

    def __str__(self) -> str:
        return self.name


class Disk(models.Model):
    """One disk. Its id names the volume on the host and is never reused."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    machine = models.ForeignKey(Machine, on_delete=models.PROTECT, related_name="disks")
    pool = models.CharField(max_length=64, default="local")
    size_gib = models.PositiveIntegerField()
    vdev = models.CharField(max_length=8)

    class Meta:
        ordering = ("vdev",)

    def __str__(self) -> str:
        return f"{self.vdev} {self.size_gib} GiB"


class Interface(models.Model):
    """One network interface."""

    machine = models.ForeignKey(Machine, on_delete=models.PROTECT, related_name="interfaces")
    network = models.ForeignKey(Network, on_delete=models.PROTECT, related_name="+")
    mac = models.CharField(max_length=17, unique=True)
    ipv4 = models.GenericIPAddressField(protocol="IPv4", null=True)
    ipv6 = models.GenericIPAddressField(protocol="IPv6", null=True)

    def __str__(self) -> str:
        return self.mac


class MachineMove(models.Model):
    """One state transition: who, when, from, to, why."""

    machine = models.ForeignKey(Machine, on_delete=models.PROTECT, related_name="moves")
    at = models.DateTimeField()
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    event = models.CharField(max_length=24)
    from_state = models.CharField(max_length=12)
    to_state = models.CharField(max_length=12)
    why = MessageField(blank=True)

    class Meta:
        ordering = ("id",)

    def __str__(self) -> str:
        return f"{self.from_state} → {self.to_state}"

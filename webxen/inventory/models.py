"""Models: Host (a dom0), Pool, Network, Address, Image, Size, and records of enrolment and restores."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import F, Q, Value

from webxen.core.messages import MessageField
from worker import contract


class Host(models.Model):
    """A dom0. It enrols with a token, and its reports are trusted once staff has accepted its key."""

    class State(models.TextChoices):
        ACTIVE = "ACTIVE"
        DRAINING = "DRAINING"
        #: enrolled but not accepted by staff: receives no orders, its reports are not trusted
        NEW = "NEW"
        #: rejected or removed: no broker account, no orders, not trusted, not shown
        REMOVED = "REMOVED"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=contract.MAX_HOST_NAME, unique=True)
    state = models.CharField(max_length=16, choices=State, default=State.ACTIVE)
    #: Ed25519, PEM; verifies the signature of its reports
    public_key = models.TextField()
    #: a second key valid until other_key_until: the next key, or for a short time the previous one
    other_key = models.TextField(blank=True)
    other_key_until = models.DateTimeField(null=True)
    other_key_is_next = models.BooleanField(default=False)
    #: passwords of its broker account: list of {"sha256", "until": time or null}; hashes only
    broker_passwords = models.JSONField(default=list)
    #: its worker reports on the host's own queues; an older worker uses the queue shared by all hosts
    has_own_queues = models.BooleanField(default=False, db_default=False)
    #: fingerprints of the portal keys the host reports to trust
    portal_keys = models.JSONField(default=list)
    #: all lines of `xl info`; facts.in_order restores their order
    facts = models.JSONField(default=dict)
    bridges = models.JSONField(default=list)
    #: image file name → verified SHA-256
    images = models.JSONField(default=dict)
    #: names of the kernels guests can be started with; null: the worker does not report them
    kernels = models.JSONField(null=True)
    #: list of {domain, uuid, domid, power, memory_mib, vcpus, cpu_seconds}; null: not readable
    domains = models.JSONField(null=True, default=list)
    #: contract.Holdings as JSON: volumes, fencing tokens, open jobs; null: the worker does not report them
    holdings = models.JSONField(null=True)
    #: list of {"machine_id", "bridge", "ipv4"}: addresses in use on the host without an Address row
    addresses = models.JSONField(default=list, db_default=models.Value([], models.JSONField()))
    worker_version = models.CharField(max_length=40, blank=True)
    #: certificate (PEM) and address of its migration relay; empty: it has none
    relay_certificate = models.TextField(blank=True, default="", db_default="")
    relay_address = models.CharField(max_length=45, blank=True, default="", db_default="")
    observed_at = models.DateTimeField(null=True)
    #: when reports resumed after the host was last silent; waiting times start here
    heard_since = models.DateTimeField(null=True)
    #: contract.Observation.serial of the last trusted one; 0: the worker does not report it
    observation_serial = models.PositiveBigIntegerField(default=0, db_default=0)
    #: minimum by which its clock was ahead at its last report; null: the worker does not report it
    clock_ahead_seconds = models.PositiveIntegerField(null=True)
    #: protocol version of its last report if it differs from the portal's; 0: not readable
    other_protocol = models.PositiveSmallIntegerField(null=True)
    #: part of its last observation → number of items not kept (inventory.observed); empty: all were kept
    left_out = models.JSONField(default=dict, db_default=Value({}, output_field=models.JSONField()))
    #: when messages of its queues, or entries of its console streams, were last dropped because of a limit
    reports_dropped_at = models.DateTimeField(null=True)
    console_skipped_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField()
    #: memory for machines, and how much of it is reserved
    memory_mib = models.PositiveIntegerField(default=0)
    memory_reserved_mib = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ("name",)
        constraints = (
            models.CheckConstraint(
                condition=Q(memory_reserved_mib__lte=F("memory_mib")) | Q(memory_mib=0),
                name="a_host_promises_no_more_memory_than_it_has",
            ),
        )

    def __str__(self) -> str:
        return self.name


class JoinToken(models.Model):
    """Allows one host of this name to enrol once. Only a hash of the secret is stored."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=contract.MAX_HOST_NAME)
    secret_hash = models.CharField(max_length=64, unique=True)
    #: may replace the key of an existing host
    is_rejoin = models.BooleanField(default=False)
    made_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.name


class Pool(models.Model):
    """A storage pool as one host sees it. A shared pool has a row for each host that sees it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    host = models.ForeignKey(Host, on_delete=models.PROTECT, related_name="pools")
    name = models.CharField(max_length=64)
    kind = models.CharField(max_length=8)
    total_mib = models.PositiveBigIntegerField()
    free_mib = models.PositiveBigIntegerField()
    #: pools of several hosts with the same id and is_shared are the same pool; empty: not known
    shared_id = models.CharField(max_length=80, blank=True, default="", db_default="", db_index=True)
    #: the host reports that staff configured it as a shared pool
    is_shared = models.BooleanField(default=False, db_default=False)
    #: MiB of the disks that this host's machines have, or are being given, in this pool (jobs.promises)
    promised_mib = models.PositiveBigIntegerField(default=0, db_default=0)

    class Meta:
        ordering = ("host", "name")
        constraints = (models.UniqueConstraint(fields=("host", "name"), name="a_pool_has_one_name_per_host"),)

    def __str__(self) -> str:
        return f"{self.host}:{self.name}"

    @property
    def limit_mib(self) -> int:
        """MiB that may be promised: LVM volumes take their space at once, files only as they are filled."""
        return self.total_mib if self.kind == "LVM" else int(self.total_mib * settings.WEBXEN_DISK_RATIO)


class LeftAlone(models.Model):
    """A domain on a host that is not the portal's and that staff marked as known."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="left_alone")
    uuid = models.UUIDField()
    #: its name at that time
    name = models.CharField(max_length=120, blank=True)
    noted_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    noted_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("host", "uuid"), name="a_domain_is_left_alone_once_per_host"),
        )

    def __str__(self) -> str:
        return f"{self.host}:{self.uuid}"


class Network(models.Model):
    """A network that users choose by name: a bridge on the hosts and a range of addresses."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.SlugField(max_length=40, unique=True)
    bridge = models.CharField(max_length=15)
    #: e.g. 10.0.2.0/24
    cidr = models.CharField(max_length=43)
    gateway = models.GenericIPAddressField(protocol="IPv4", null=True)
    nameserver = models.GenericIPAddressField(protocol="IPv4", null=True)
    first = models.GenericIPAddressField(protocol="IPv4")
    last = models.GenericIPAddressField(protocol="IPv4")

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class Address(models.Model):
    """An allocated address. The row is the claim; it is deleted with the machine."""

    network = models.ForeignKey(Network, on_delete=models.PROTECT, related_name="addresses")
    ipv4 = models.GenericIPAddressField(protocol="IPv4")
    mac = models.CharField(max_length=17, unique=True)
    #: id of the machine that has it
    holder = models.UUIDField(db_index=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("network", "ipv4"), name="an_address_is_given_once"),)

    def __str__(self) -> str:
        return self.ipv4


class Image(models.Model):
    """An image that machines are created from; the fields are those of contract.ImageSpec."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    slug = models.SlugField(max_length=40, unique=True)
    name = models.CharField(max_length=80)
    description = models.CharField(max_length=200, blank=True)
    file = models.CharField(max_length=120)
    sha256 = models.CharField(max_length=64)
    format = models.CharField(max_length=12)
    seed = models.CharField(max_length=8, default="FILES")
    kernel = models.CharField(max_length=120, blank=True)
    ramdisk = models.CharField(max_length=120, blank=True)
    root = models.CharField(max_length=80, default="/dev/xvda ro")
    extra = models.CharField(max_length=200, default="console=hvc0")
    vdev = models.CharField(max_length=8, default="xvda")
    type = models.CharField(max_length=4, default="AUTO")
    min_disk_mib = models.PositiveIntegerField()
    min_memory_mib = models.PositiveIntegerField(default=128)
    is_active = models.BooleanField(default=True)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class Size(models.Model):
    """A named set of vCPUs, memory and disk."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    slug = models.SlugField(max_length=40, unique=True)
    name = models.CharField(max_length=40)
    vcpus = models.PositiveSmallIntegerField()
    memory_mib = models.PositiveIntegerField()
    disk_gib = models.PositiveIntegerField()

    class Meta:
        ordering = ("memory_mib", "vcpus")

    def __str__(self) -> str:
        return self.name


class Restore(models.Model):
    """A restored database that is older than its hosts; while this is open the portal gives no orders.

    The portal creates it on evidence, staff by a command after restoring a backup; staff ends it.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    #: True while open, null afterwards: the unique constraint allows only one open restore
    is_open = models.BooleanField(null=True, default=True, unique=True)
    #: the evidence, one sentence
    why = MessageField()
    begun_at = models.DateTimeField()
    #: null: the portal itself
    begun_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    ended_at = models.DateTimeField(null=True)
    ended_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )

    class Meta:
        ordering = ("-begun_at",)

    def __str__(self) -> str:
        return f"{self.begun_at:%Y-%m-%d %H:%M} {self.why}"


class SeenReceipt(models.Model):
    """A receipt of the portal's own that a host reported and that no row explains.

    Its signature was verified. `text` is verified again before it is used.
    """

    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="receipts")
    machine_id = models.UUIDField(db_index=True)
    fence = models.PositiveBigIntegerField()
    #: when the order with this receipt was sent, by the portal's clock
    at = models.DateTimeField()
    text = models.TextField()
    seen_at = models.DateTimeField()

    class Meta:
        ordering = ("at",)
        constraints = (
            models.UniqueConstraint(
                fields=("host", "machine_id"), name="a_host_shows_one_receipt_of_a_machine"
            ),
        )

    def __str__(self) -> str:
        return f"{self.machine_id} on {self.host}"

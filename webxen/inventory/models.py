"""Host (a dom0), Pool, Network, Address, Image, Size. What hosts say of themselves ends here."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import F, Q, Value


class Host(models.Model):
    """A dom0 as we keep it. It joins with a token and is believed once staff has accepted its key."""

    class State(models.TextChoices):
        ACTIVE = "ACTIVE"
        DRAINING = "DRAINING"
        #: joined, but staff has not accepted it: no orders, and its word is not believed
        NEW = "NEW"
        #: turned away or taken out: no account, no orders, not believed, not shown
        REMOVED = "REMOVED"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.SlugField(max_length=40, unique=True)
    state = models.CharField(max_length=16, choices=State, default=State.ACTIVE)
    #: Ed25519, PEM; its reports must carry this signature
    public_key = models.TextField()
    #: another key that counts until then: the next one, or the last one for a moment after a change
    other_key = models.TextField(blank=True)
    other_key_until = models.DateTimeField(null=True)
    other_key_is_next = models.BooleanField(default=False)
    #: the broker knows these: list of {"sha256", "until": time or null}; the password itself is not kept
    broker_passwords = models.JSONField(default=list)
    #: its worker reports on queues of its own; an older one shares a queue with the other hosts
    has_own_queues = models.BooleanField(default=False, db_default=False)
    #: fingerprints of the portal's keys it says it trusts
    portal_keys = models.JSONField(default=list)
    #: every line of `xl info`; facts.in_order brings its order back
    facts = models.JSONField(default=dict)
    bridges = models.JSONField(default=list)
    #: image file name → checked digest
    images = models.JSONField(default=dict)
    #: names of the kernels that guests can be started with; null: its worker does not say
    kernels = models.JSONField(null=True)
    #: list of {domain, uuid, domid, power, memory_mib, vcpus, cpu_seconds}; null: not readable
    domains = models.JSONField(null=True, default=list)
    #: contract.Holdings as JSON: volumes, fences, open jobs; null: its worker does not say
    holdings = models.JSONField(null=True)
    #: list of {"machine_id", "bridge", "ipv4"}: what it shows in use and no Address row explains
    addresses = models.JSONField(default=list, db_default=models.Value([], models.JSONField()))
    worker_version = models.CharField(max_length=40, blank=True)
    #: PEM and address by which its relay is known to the other end of a move; empty: it has none
    relay_certificate = models.TextField(blank=True, default="", db_default="")
    relay_address = models.CharField(max_length=45, blank=True, default="", db_default="")
    observed_at = models.DateTimeField(null=True)
    #: its first word after it had last been silent: what waits for it is timed from here
    heard_since = models.DateTimeField(null=True)
    #: contract.Observation.serial of the last one believed; 0: its worker does not say
    observation_serial = models.PositiveBigIntegerField(default=0, db_default=0)
    #: by which its clock was ahead of ours at its last word, at the least; null: its worker does not say
    clock_ahead_seconds = models.PositiveIntegerField(null=True)
    #: version of the protocol that its last word came in, if it was not ours; 0: none that makes sense
    other_protocol = models.PositiveSmallIntegerField(null=True)
    #: part of its last word → how much of it was not kept (inventory.observed); empty: it is as any other
    left_out = models.JSONField(default=dict, db_default=Value({}, output_field=models.JSONField()))
    #: when messages of its queues, or entries of its console streams, were last dropped as too much
    reports_dropped_at = models.DateTimeField(null=True)
    console_skipped_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField()
    #: what placement counts: memory for machines, and what of it is promised
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
    """Lets one host of this name show its key, once. Only a hash of the secret is kept."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.SlugField(max_length=40)
    secret_hash = models.CharField(max_length=64, unique=True)
    #: may replace the key of a host that is there already
    is_rejoin = models.BooleanField(default=False)
    made_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.name


class Pool(models.Model):
    """Storage as one host sees it. A pool that several see has a row for each of them."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    host = models.ForeignKey(Host, on_delete=models.PROTECT, related_name="pools")
    name = models.CharField(max_length=64)
    kind = models.CharField(max_length=8)
    total_mib = models.PositiveBigIntegerField()
    free_mib = models.PositiveBigIntegerField()
    #: two hosts that both say it is shared and tell the same one see the same pool; empty: not known
    shared_id = models.CharField(max_length=80, blank=True, default="", db_default="", db_index=True)
    #: its host says that staff made it a pool several hosts see
    is_shared = models.BooleanField(default=False, db_default=False)
    #: sizes of the disks that this host's machines have there or are being given, as jobs.promises counts
    promised_mib = models.PositiveBigIntegerField(default=0, db_default=0)

    class Meta:
        ordering = ("host", "name")
        constraints = (models.UniqueConstraint(fields=("host", "name"), name="a_pool_has_one_name_per_host"),)

    def __str__(self) -> str:
        return f"{self.host}:{self.name}"

    @property
    def limit_mib(self) -> int:
        """MiB that may be promised: volumes of LVM take their whole space at once, files as they fill."""
        return self.total_mib if self.kind == "LVM" else int(self.total_mib * settings.WEBXEN_DISK_RATIO)


class LeftAlone(models.Model):
    """A domain on a host that is none of our machines, and that staff knows: it is left as it is."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="left_alone")
    uuid = models.UUIDField()
    #: what it was called then
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
    """A network people pick by name; a bridge on the hosts with a range of addresses."""

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
    """An address given out. The row is the claim; it goes when the machine goes."""

    network = models.ForeignKey(Network, on_delete=models.PROTECT, related_name="addresses")
    ipv4 = models.GenericIPAddressField(protocol="IPv4")
    mac = models.CharField(max_length=17, unique=True)
    #: id of the machine that holds it
    holder = models.UUIDField(db_index=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("network", "ipv4"), name="an_address_is_given_once"),)

    def __str__(self) -> str:
        return self.ipv4


class Image(models.Model):
    """A template machines are made from; the fields are those of contract.ImageSpec."""

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
    """A named set of figures."""

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
    """The database is older than its hosts: while this is open the portal orders nothing.

    The portal opens one on proof, staff by a command after restoring a backup; staff closes it.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    #: True while it is open, then null: the database allows one that is open
    is_open = models.BooleanField(null=True, default=True, unique=True)
    #: what proves it, one sentence
    why = models.TextField()
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
    """A receipt of the portal's own that a host showed and that the rows do not explain.

    The signature was checked. `text` is checked again before anything is made of it.
    """

    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="receipts")
    machine_id = models.UUIDField(db_index=True)
    fence = models.PositiveBigIntegerField()
    #: when the order went out that it came with, by the portal's clock
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

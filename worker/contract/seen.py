"""What a host says of itself: domains, pools, what lies on it. Nothing here is about one job."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

Power = Literal["RUNNING", "PAUSED", "SUSPENDED", "OFF", "CRASHED", "UNKNOWN"]


@dataclass(frozen=True)
class DomainSeen:
    domain: str
    uuid: str
    domid: int
    power: Power
    memory_mib: int
    vcpus: int
    cpu_seconds: float = 0.0


@dataclass(frozen=True)
class PoolSeen:
    name: str
    kind: Literal["FILE", "LVM"]
    total_mib: int
    free_mib: int
    #: two hosts that tell the same id see the same, shared, pool; "": not known
    id: str = ""
    #: staff made it one that several hosts see: a lease says which of them may open a machine's disks
    is_shared: bool = False


@dataclass(frozen=True)
class VolumeSeen:
    """A disk of ours on the host, whole or (`is_draft`) being made."""

    machine_id: str
    disk_id: str
    pool: str
    size_mib: int
    is_draft: bool = False


@dataclass(frozen=True)
class FenceSeen:
    """The highest fence this host has accepted for a machine."""

    machine_id: str
    fence: int


@dataclass(frozen=True)
class JobSeen:
    """A job the host has begun and not ended."""

    job_id: str
    machine_id: str


@dataclass(frozen=True)
class AddressSeen:
    """An address that a machine's configuration, or a domain, has on this host."""

    #: uuid of the machine or domain
    machine_id: str
    #: "": not known
    bridge: str
    ipv4: str


@dataclass(frozen=True)
class Holdings:
    """What lies on the host, for comparison with the portal's rows. Nothing acts on it."""

    volumes: tuple[VolumeSeen, ...] = ()
    #: pools whose volumes were listed: in any other a volume is not missing, only unseen
    pools: tuple[str, ...] = ()
    #: machines the host has a machine.json of
    machines: tuple[str, ...] = ()
    fences: tuple[FenceSeen, ...] = ()
    jobs: tuple[JobSeen, ...] = ()
    #: there is more than fits into an envelope: what is not listed may still be there
    is_cut: bool = False
    #: what machine.cfg of each machine says, and `xl list -l` of domains that are not the portal's
    addresses: tuple[AddressSeen, ...] = ()
    #: the portal's own receipts, the newest and some of the others in turn
    receipts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Observation:
    """What a host says of itself, at start, on change and on a clock (10 s)."""

    kind: ClassVar[str] = "OBSERVATION"
    host: str
    #: `xl info` as printed, key by key, in its order
    facts: dict[str, str]
    pools: tuple[PoolSeen, ...]
    bridges: tuple[str, ...]
    #: None: the list could not be read, which is not "no domains"
    domains: tuple[DomainSeen, ...] | None
    #: image file names whose digest was checked, with the digest
    images: dict[str, str] = field(default_factory=dict)
    worker_version: str = ""
    #: machines whose disks or configs exist on this host, running or not
    machine_ids: tuple[str, ...] = ()
    #: None: this worker does not say
    holdings: Holdings | None = None
    #: fingerprints of the portal's keys this host trusts
    portal_keys: tuple[str, ...] = ()
    #: counts up over the host's whole life: an older word, replayed or late, is not believed. 0: not said
    serial: int = 0
    #: PEM by which this host's relay is known to the other end of a move; "": it has none
    relay_certificate: str = ""
    #: IP address at which other hosts reach this host's relay; "": none
    relay_address: str = ""
    #: names in its kernels directory; None: this worker does not say
    kernels: tuple[str, ...] | None = None
    #: Unix time by this host's own clock when it said this; 0: this worker does not say. It is compared only
    #: to tell staff of a wrong clock: nothing is decided by it
    at: int = 0

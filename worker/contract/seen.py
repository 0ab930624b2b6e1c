"""Observations: what a host reports about itself, independent of jobs."""

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
    #: two hosts that report the same id see the same, shared, pool; "": not known
    id: str = ""
    #: staff made it a shared pool: leases decide which host may open a machine's disks
    is_shared: bool = False


@dataclass(frozen=True)
class VolumeSeen:
    """A disk of WebXen on the host, complete or (`is_draft`) being made."""

    machine_id: str
    disk_id: str
    pool: str
    size_mib: int
    is_draft: bool = False


@dataclass(frozen=True)
class FenceSeen:
    """The highest fencing number that this host has accepted for a machine."""

    machine_id: str
    fence: int


@dataclass(frozen=True)
class JobSeen:
    """A job that the host has begun and not ended."""

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
    """What is stored on the host, for comparison with the portal's database. No action is derived from it."""

    volumes: tuple[VolumeSeen, ...] = ()
    #: pools whose volumes were listed; in any other pool a volume is not missing, only unseen
    pools: tuple[str, ...] = ()
    #: machines that have a machine.json on the host
    machines: tuple[str, ...] = ()
    fences: tuple[FenceSeen, ...] = ()
    jobs: tuple[JobSeen, ...] = ()
    #: there is more than fits into an envelope: what is not listed may still exist
    is_cut: bool = False
    #: from machine.cfg of each machine, and from `xl list -l` for domains that are not the portal's
    addresses: tuple[AddressSeen, ...] = ()
    #: the portal's own receipts: the newest, and some of the others in turn
    receipts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Observation:
    """What a host reports about itself: at start, on change and every 10 seconds."""

    kind: ClassVar[str] = "OBSERVATION"
    host: str
    #: `xl info` as printed, by key, in its order
    facts: dict[str, str]
    pools: tuple[PoolSeen, ...]
    bridges: tuple[str, ...]
    #: None: the list could not be read, which is not "no domains"
    domains: tuple[DomainSeen, ...] | None
    #: file names of images whose digest was computed, with the digest
    images: dict[str, str] = field(default_factory=dict)
    worker_version: str = ""
    #: machines whose disks or configurations exist on this host, running or not
    machine_ids: tuple[str, ...] = ()
    #: None: not reported by this worker
    holdings: Holdings | None = None
    #: fingerprints of the portal's keys that this host trusts
    portal_keys: tuple[str, ...] = ()
    #: grows over the host's whole life, so that a replayed or late observation is ignored; 0: not reported
    serial: int = 0
    #: PEM certificate of this host's relay; "": it has none
    relay_certificate: str = ""
    #: IP address at which other hosts reach this host's relay; "": none
    relay_address: str = ""
    #: names in its kernels directory; None: not reported by this worker
    kernels: tuple[str, ...] | None = None
    #: Unix time by this host's clock when it sent this; 0: not reported. It is used only to warn staff of a
    #: wrong clock
    at: int = 0

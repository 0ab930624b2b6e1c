"""Input of placement: plain values of hosts and machines."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Need:
    """What a machine needs."""

    memory_mib: int
    disk_mib: int = 0
    image_file: str = ""
    image_sha256: str = ""
    pool: str = "local"
    bridge: str = ""
    vcpus: int = 1
    #: machines of one group are kept on different hosts; "": no group
    group: str = ""
    #: processors it keeps busy, as observed; 0: not known
    load: float = 0.0


@dataclass(frozen=True)
class MachineFigures(Need):
    """A machine that is already on a host."""

    id: str = ""
    name: str = ""


@dataclass(frozen=True)
class HostFigures:
    """What placement needs to know about a host."""

    name: str
    is_active: bool
    is_silent: bool
    #: MiB for machines, without what is reserved and what is kept free
    memory_free_mib: int
    #: pool name → free MiB
    pools: dict[str, int] = field(default_factory=dict)
    bridges: tuple[str, ...] = ()
    #: image file → verified SHA-256
    images: dict[str, str] = field(default_factory=dict)
    #: being evacuated: its machines leave, no new ones are placed
    is_draining: bool = False
    #: total MiB for machines; 0: computed as free memory plus that of its machines
    memory_mib: int = 0
    #: pool name → size in MiB; a missing pool is computed as free space plus its machines' disks
    pool_sizes: dict[str, int] = field(default_factory=dict)
    #: pools that other hosts see under the same name
    shared_pools: frozenset[str] = frozenset()
    #: processors; 0: not known, so vCPUs are not limited
    cpus: int = 0
    #: vCPUs that may be promised per processor; 0: no limit
    vcpu_ratio: float = 0.0
    machines: tuple[MachineFigures, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether machines may be placed there."""
        return self.is_active and not self.is_draining and not self.is_silent

"""What placement is told of hosts and machines: plain numbers, nothing that reads or decides."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Need:
    """What a machine takes."""

    memory_mib: int
    disk_mib: int = 0
    image_file: str = ""
    image_sha256: str = ""
    pool: str = "local"
    bridge: str = ""
    vcpus: int = 1
    #: machines of one group are kept on different hosts; "" is no group
    group: str = ""
    #: processors it keeps busy, as seen; 0 is not known
    load: float = 0.0


@dataclass(frozen=True)
class MachineFigures(Need):
    """A machine that is on a host already."""

    id: str = ""
    name: str = ""


@dataclass(frozen=True)
class HostFigures:
    """What placement needs to know of a host."""

    name: str
    is_active: bool
    is_silent: bool
    #: for machines, after what is promised and what is kept free
    memory_free_mib: int
    #: pool name → free space
    pools: dict[str, int] = field(default_factory=dict)
    bridges: tuple[str, ...] = ()
    #: image file → checked digest
    images: dict[str, str] = field(default_factory=dict)
    #: being emptied: those it has are to go, nothing new comes
    is_draining: bool = False
    #: all memory for machines; 0: what is free and what its machines have
    memory_mib: int = 0
    #: pool name → size; a pool that is missing here is taken as free space and its machines' disks
    pool_sizes: dict[str, int] = field(default_factory=dict)
    #: pools that other hosts see under the same name
    shared_pools: frozenset[str] = frozenset()
    #: processors; 0: not known, then nothing is limited by them
    cpus: int = 0
    #: promised processors for each real one; 0: no limit
    vcpu_ratio: float = 0.0
    machines: tuple[MachineFigures, ...] = ()

    @property
    def is_open(self) -> bool:
        """May machines be sent there?"""
        return self.is_active and not self.is_draining and not self.is_silent

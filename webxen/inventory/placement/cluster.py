"""A planning copy of all hosts: machines are added and removed, and all figures stay up to date.

It uses parallel lists instead of objects, because choosing among a thousand hosts iterates over these
numbers. It decides nothing.
"""

from collections import Counter
from collections.abc import Sequence

from webxen.inventory.placement import score
from webxen.inventory.placement.figures import HostFigures, MachineFigures, Need
from webxen.inventory.placement.fits import Verdict, refuse_always, vcpu_limit
from webxen.inventory.placement.score import DISK, MEMORY, VCPUS, Spread
from webxen.inventory.placement.survival import Survival


class Cluster:
    """Hosts, addressed by their index in the given list."""

    def __init__(self, hosts: Sequence[HostFigures], *, knows_machines: bool = True) -> None:
        """`knows_machines`: hosts contain each machine; otherwise only totals, and N+1 is not computed."""
        self.knows_machines = knows_machines
        self.hosts = list(hosts)
        self.index = {host.name: place for place, host in enumerate(self.hosts)}
        self.is_open = [host.is_open for host in self.hosts]
        self.machines = [{machine.id: machine for machine in host.machines} for host in self.hosts]
        self.memory_free = [host.memory_free_mib for host in self.hosts]
        self.memory = [_memory_of(host) for host in self.hosts]
        self.vcpus = [sum([machine.vcpus for machine in host.machines]) for host in self.hosts]
        self.vcpus_most = [vcpu_limit(host) for host in self.hosts]
        self.processors = [float(host.cpus or 1) for host in self.hosts]
        self.loads = [sum([machine.load for machine in host.machines]) for host in self.hosts]
        self.groups = [_groups_of(host) for host in self.hosts]
        self.pools = [
            {name: free for name, free in host.pools.items() if name not in host.shared_pools}
            for host in self.hosts
        ]
        self.shared: dict[str, int] = {}
        for host in self.hosts:
            for name in host.shared_pools & host.pools.keys():
                # hosts report at different times: the minimum is certainly available
                self.shared[name] = min(self.shared.get(name, host.pools[name]), host.pools[name])
        self.disk_free = [sum(pools.values()) for pools in self.pools]
        self.disk = [_disk_of(host) for host in self.hosts]
        self._allowed: dict[tuple[str, str, str, str], list[bool]] = {}
        self._reached: dict[tuple[str, str, str, str], list[bool]] = {}
        self._survival: Survival | None = None
        self.spreads = [Spread(self.figures(metric)) for metric in range(score.METRICS)]
        self.stranded = sum(len(self.machines[place]) for place in range(len(hosts)) if self._is_left(place))
        self.clashes = sum(count - 1 for groups in self.groups for count in groups.values() if count > 1)

    # --- figures ---------------------------------------------------------------------------------

    def ratio(self, metric: int, place: int) -> float:
        """Return one host's value of one metric."""
        if metric == MEMORY:
            return self.memory_free[place] / self.memory[place]
        if metric == DISK:
            return self.disk_free[place] / self.disk[place] if self.disk[place] else 1.0
        if metric == VCPUS:
            return self.vcpus[place] / self.processors[place]
        return self.loads[place] / self.processors[place]

    def figures(self, metric: int) -> list[float]:
        """Return one metric's values of the open hosts."""
        return [self.ratio(metric, place) for place, is_open in enumerate(self.is_open) if is_open]

    def steps(self, need: Need, place: int) -> tuple[float, float, float, float]:
        """Return the change of each ratio of the host when the machine is added."""
        disk = self.disk[place]
        is_local = need.pool not in self.hosts[place].shared_pools
        return (
            -need.memory_mib / self.memory[place],
            -need.disk_mib / disk if disk and is_local else 0.0,
            need.vcpus / self.processors[place],
            need.load / self.processors[place],
        )

    @property
    def score(self) -> float:
        return (
            sum([spread.deviation for spread in self.spreads])
            + score.GROUP_WEIGHT * self.clashes
            + score.STRANDED_WEIGHT * self.stranded
        )

    def score_from_scratch(self) -> float:
        """The same, computed without running sums; tests compare the two."""
        clashes = sum(
            count - 1
            for machines in self.machines
            for group, count in Counter(machine.group for machine in machines.values()).items()
            if group
        )
        stranded = sum(len(self.machines[place]) for place in range(len(self.hosts)) if self._is_left(place))
        spreads = sum(score.deviation(self.figures(metric)) for metric in range(score.METRICS))
        return spreads + score.GROUP_WEIGHT * clashes + score.STRANDED_WEIGHT * stranded

    def _is_left(self, place: int) -> bool:
        """Whether its machines are to leave. Those of a silent host cannot be moved."""
        host = self.hosts[place]
        return host.is_draining and not host.is_silent

    # --- rules -----------------------------------------------------------------------------------

    def allowed(self, need: Need) -> list[bool]:
        """For each host: whether such a machine may be there, regardless of free capacity."""
        kind = (need.pool, need.bridge, need.image_file, need.image_sha256)
        known = self._allowed.get(kind)
        if known is None:
            known = self._allowed[kind] = [refuse_always(host, need) is None for host in self.hosts]
        return known

    def allowed_elsewhere(self, machine: Need) -> list[bool]:
        """For each host: whether a machine of a failed host could start there."""
        kind = (machine.pool, machine.bridge, "", "")
        known = self._reached.get(kind)
        if known is None:
            there = Need(memory_mib=0, pool=machine.pool, bridge=machine.bridge)
            known = self._reached[kind] = [
                is_allowed and self.is_shared(place, there)
                for place, is_allowed in enumerate(self.allowed(there))
            ]
        return known

    def refuse(self, place: int, need: Need, *, is_move: bool = False) -> Verdict | None:
        """Return why the machine cannot go there now, or None. A move needs no space in a shared pool."""
        host = self.hosts[place]
        if not self.allowed(need)[place]:
            return refuse_always(host, need)
        free = self.memory_free[place]
        if free < need.memory_mib:
            return Verdict(host.name, "MEMORY", {"free": max(free, 0), "needed": need.memory_mib})
        free = self.disk_room(place, need)
        if free < need.disk_mib and not (is_move and self.is_shared(place, need)):
            return Verdict(host.name, "DISK", {"free": max(free, 0), "needed": need.disk_mib})
        room = self.vcpus_most[place] - self.vcpus[place]
        if room < need.vcpus:
            return Verdict(host.name, "VCPUS", {"free": max(int(room), 0), "needed": need.vcpus})
        if need.group and self.groups[place].get(need.group):
            return Verdict(host.name, "GROUP", {"group": need.group})
        return None

    def disk_room(self, place: int, need: Need) -> int:
        """Free MiB of the needed pool, seen from that host."""
        free = self.pools[place].get(need.pool)
        return self.shared.get(need.pool, 0) if free is None else free

    def is_shared(self, place: int, need: Need) -> bool:
        """Whether its disks are in a pool that other hosts see."""
        return need.pool in self.hosts[place].shared_pools

    # --- changes ---------------------------------------------------------------------------------

    @property
    def survival(self) -> Survival:
        """Effect of each host's failure; computed on first use and updated from then on."""
        if self._survival is None:
            self._survival = Survival(self)
        return self._survival

    def put(self, place: int, machine: MachineFigures) -> None:
        """Add the machine to the host, without checking whether it fits."""
        self.count(place, machine, 1)
        self.machines[place][machine.id] = machine
        if self._survival:
            self._survival.heard_put(place, machine)

    def take(self, place: int, machine: MachineFigures) -> None:
        """Remove the machine from the host."""
        del self.machines[place][machine.id]
        self.count(place, machine, -1)
        if self._survival:
            self._survival.heard_take(place, machine)

    def move(self, machine: MachineFigures, source: int, target: int) -> None:
        self.take(source, machine)
        self.put(target, machine)

    def count(self, place: int, machine: MachineFigures, sign: int) -> None:
        """Change only the figures, as if the machine were added (1) or removed (-1); used for trials."""
        if self.is_open[place]:
            for metric, step in enumerate(self.steps(machine, place)):
                if step:
                    old = self.ratio(metric, place)
                    self.spreads[metric].change(old, old + sign * step)
        if self._is_left(place):
            self.stranded += sign
        if machine.group:
            had = self.groups[place].get(machine.group, 0)
            self.clashes += max(had + sign - 1, 0) - max(had - 1, 0)
            self.groups[place][machine.group] = had + sign
        self.memory_free[place] -= sign * machine.memory_mib
        self.vcpus[place] += sign * machine.vcpus
        self.loads[place] += sign * machine.load
        if machine.pool in self.pools[place]:
            self.pools[place][machine.pool] -= sign * machine.disk_mib
            self.disk_free[place] -= sign * machine.disk_mib

    def charge_shared(self, need: Need) -> None:
        """Count a new machine's disks against its shared pool; moves between its hosts take nothing."""
        if need.pool in self.shared:
            self.shared[need.pool] -= need.disk_mib


def _memory_of(host: HostFigures) -> float:
    return float(
        host.memory_mib or max(host.memory_free_mib, 0) + sum([m.memory_mib for m in host.machines]) or 1
    )


def _groups_of(host: HostFigures) -> dict[str, int]:
    """Number of machines of each group on the host."""
    counts: dict[str, int] = {}  # no Counter: for a few machines creating one costs more than counting
    for machine in host.machines:
        if machine.group:
            counts[machine.group] = counts.get(machine.group, 0) + 1
    return counts


def _disk_of(host: HostFigures) -> int:
    """Total MiB of the host's own pools."""
    size = 0
    for name, free in host.pools.items():
        if name not in host.shared_pools:
            size += host.pool_sizes.get(name) or free + sum(
                [machine.disk_mib for machine in host.machines if machine.pool == name]
            )
    return size

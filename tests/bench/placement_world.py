"""Clusters of the placement benchmark: generated from a seed, and written in the format of Ganeti's
htools.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from webxen.inventory.placement.choose import as_machine
from webxen.inventory.placement.cluster import Cluster
from webxen.inventory.placement.figures import HostFigures, MachineFigures, Need

GIB = 1024
POOL = "disks"
VCPU_RATIO = 4.0
#: memory, vCPUs, disk
SIZES = (
    (1 * GIB, 1, 10 * GIB),
    (2 * GIB, 1, 20 * GIB),
    (4 * GIB, 2, 40 * GIB),
    (8 * GIB, 4, 60 * GIB),
    (16 * GIB, 4, 120 * GIB),
)
#: memory, processors, disk; odd numbers, as left by a dom0, because hail never uses the last unit
HOSTS = ((64 * GIB - 817, 16, 1228469), (96 * GIB - 901, 32, 1638393), (128 * GIB - 73, 32, 2457599))


@dataclass(frozen=True)
class World:
    """A cluster, and the machines to place, in this order."""

    hosts: tuple[HostFigures, ...]
    wishes: tuple[MachineFigures, ...]


def make(*, seed: int, count: int, is_shared: bool, fill: float, wishes: int) -> World:
    """Fill hosts unevenly to a part of their memory; one in twenty is drained, one in thirty is off."""
    dice = random.Random(seed)
    empty = [_host(dice, number, is_shared=is_shared) for number in range(count)]
    empty[1] = replace(empty[1], is_draining=True)
    empty[2] = replace(empty[2], is_active=False, is_silent=True)
    # drained hosts had machines before
    cluster = Cluster([replace(host, is_draining=False) for host in empty])
    weights = [dice.uniform(0.5, 1.0) for _ in empty]
    target = fill * sum(host.memory_mib for host in empty if not host.is_silent)
    used, number, fails = 0, 0, 0
    while used < target and fails < 60:
        machine = replace(wish(dice, number, count), id=f"m{number}", name=f"m{number}")
        places = [dice.randrange(count) for _ in range(8)]
        fitting = [
            place
            for place in places
            if cluster.refuse(place, machine) is None
            and cluster.memory_free[place] > machine.memory_mib
            and (dice.random() < weights[place] or fill > 0.85)
        ]
        fails = 0 if fitting else fails + 1
        if fitting:
            cluster.put(fitting[0], machine)
            used, number = used + machine.memory_mib, number + 1
    asked = tuple(
        replace(wish(dice, number + more, count), id=f"w{more}", name=f"w{more}") for more in range(wishes)
    )
    return World(snapshot(cluster, empty), asked)


def _host(dice: random.Random, number: int, *, is_shared: bool) -> HostFigures:
    memory, cpus, disk = dice.choice(HOSTS)
    state = dice.random()
    return HostFigures(
        name=f"h{number:04}",
        is_active=state > 1 / 30,
        is_silent=state <= 1 / 30,
        is_draining=1 / 30 < state < 1 / 30 + 1 / 20,
        memory_free_mib=memory,
        memory_mib=memory,
        pools={POOL: 10**9 if is_shared else disk},
        pool_sizes={POOL: 10**9 if is_shared else disk},
        shared_pools=frozenset((POOL,)) if is_shared else frozenset(),
        cpus=cpus,
        vcpu_ratio=VCPU_RATIO,
    )


def wish(dice: random.Random, number: int, count: int) -> MachineFigures:
    """Generate a machine; one in five belongs to a group of about four."""
    memory, vcpus, disk = dice.choices(SIZES, weights=(4, 4, 3, 2, 1))[0]
    group = f"g{number // 20}" if dice.random() < 0.2 and count > 4 else ""
    return as_machine(Need(memory_mib=memory, vcpus=vcpus, disk_mib=disk, pool=POOL, group=group))


def snapshot(cluster: Cluster, hosts: Sequence[HostFigures]) -> tuple[HostFigures, ...]:
    """Return the hosts with the machines of the planning copy."""
    return tuple(
        replace(
            host,
            machines=tuple(cluster.machines[place].values()),
            memory_free_mib=cluster.memory_free[place],
            pools={POOL: cluster.pools[place].get(POOL, host.pools[POOL])},
        )
        for place, host in enumerate(hosts)
    )


# --- format of Ganeti's htools ----------------------------------------------------------------


def as_text(hosts: Iterable[HostFigures]) -> str:
    """Return the text for `-t`: groups, nodes, instances, tags, policy. Drained and dead hosts are
    "offline".
    """
    nodes, instances = [], []
    for host in hosts:
        is_shared = POOL in host.shared_pools
        disk, free = (0, 0) if is_shared else (host.pool_sizes[POOL], host.pools[POOL])
        nodes.append(
            f"{host.name}|{host.memory_mib}|0|{host.memory_free_mib}|{disk}|{free}|{host.cpus}|"
            f"{'N' if host.is_open else 'Y'}|group|1||N|0|0|1.0"
        )
        template = "rbd" if is_shared else "plain"
        instances.extend(
            f"{one.id}|{one.memory_mib}|{one.disk_mib}|{one.vcpus}|running|Y|{host.name}||{template}|"
            f"{'a:' + one.group if one.group else ''}|1|-|N"
            for one in host.machines
        )
    spec = "128,1,1024,1,1,1|1,1,1,1,1,1;1048576,64,104857600,16,8,12"
    policy = f"{spec}|plain,rbd|{VCPU_RATIO}|1000000.0"
    parts = ("g|group|preferred||\n", *map(_lines, (nodes, instances, ["htools:iextags:a"])))
    return "\n".join((*parts, f"|{policy}\ng|{policy}\n"))


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def moved_as_in(hosts: Sequence[HostFigures], text: str) -> tuple[HostFigures, ...]:
    """Return the hosts with each machine where a state saved by htools has it."""
    nodes_of = {line.split("|")[0]: line.split("|")[6] for line in text.split("\n\n")[2].splitlines()}
    cluster = Cluster(hosts)
    for source, host in enumerate(hosts):
        for machine in host.machines:
            target = cluster.index[nodes_of[machine.id]]
            if target != source:
                cluster.move(machine, source, target)
    return snapshot(cluster, hosts)

"""Small clusters for the tests of placement, and a judge of plans that shares nothing with them."""

import random
from collections.abc import Iterator

from webxen.inventory.placement import HostFigures, MachineFigures
from webxen.inventory.placement.cluster import Cluster

GROUPS = ("", "", "", "web", "db")
STATES = ("open", "open", "open", "open", "draining", "silent", "inactive")


def some_machine(dice: random.Random, name: str = "new", pool: str = "san") -> MachineFigures:
    return MachineFigures(
        id=name,
        name=name,
        memory_mib=dice.choice((512, 1024, 2048, 4096)),
        vcpus=dice.randint(1, 4),
        disk_mib=dice.choice((1024, 4096, 10240)),
        pool=pool,
        group=dice.choice(GROUPS),
        load=dice.choice((0.0, 0.5, 1.5)),
    )


def some_hosts(dice: random.Random, most: int = 7) -> list[HostFigures]:
    """Hosts of several sizes with machines on them, some draining or silent, on shared and on own disks."""
    hosts = []
    for number in range(dice.randint(2, most)):
        held = tuple(
            some_machine(dice, f"h{number}m{turn}", dice.choice(("san", "local")))
            for turn in range(dice.randint(0, 5))
        )
        memory = dice.choice((8192, 16384, 24576))
        used = sum(machine.memory_mib for machine in held)
        on_own = sum(machine.disk_mib for machine in held if machine.pool == "local")
        state = dice.choice(STATES)
        hosts.append(
            HostFigures(
                name=f"h{number}",
                is_active=state != "inactive",
                is_silent=state == "silent",
                is_draining=state == "draining",
                memory_mib=max(memory, used),
                memory_free_mib=max(memory - used, 0),
                pools={"san": 200_000, "local": max(60_000 - on_own, 0)},
                pool_sizes={"san": 400_000, "local": max(60_000, on_own)},
                shared_pools=frozenset(("san",)),
                cpus=dice.choice((4, 8)),
                vcpu_ratio=4.0,
                machines=held,
            )
        )
    return hosts


def some(count: int, most: int = 7) -> Iterator[tuple[random.Random, list[HostFigures]]]:
    """So many clusters, the same ones each time: number n is some_hosts(random.Random(n))."""
    for seed in range(count):
        dice = random.Random(seed)
        yield dice, some_hosts(dice, most)


def broken_plans(cluster: Cluster) -> list[str]:
    """Hosts that count as safe and whose plan for their death does not hold, by free memory alone."""
    broken = []
    for dying, host in enumerate(cluster.hosts):
        if dying in cluster.survival.failing:
            continue
        plan, left = cluster.survival.plans[dying], list(cluster.memory_free)
        at_stake = {one.id: one for one in cluster.machines[dying].values() if one.pool in host.shared_pools}
        for name, target in plan.items():
            left[target] -= at_stake[name].memory_mib
        is_elsewhere = all(target != dying and cluster.is_open[target] for target in plan.values())
        if plan.keys() != at_stake.keys() or not is_elsewhere or any(left[one] < 0 for one in plan.values()):
            broken.append(host.name)
    return broken


def can_die(hosts: list[HostFigures], dying: int) -> bool:
    """Try every way of putting its shared machines on the open others; for few and small hosts only."""
    lost = sorted((one.memory_mib for one in hosts[dying].machines if one.pool == "san"), reverse=True)
    rooms = tuple(host.memory_free_mib for place, host in enumerate(hosts) if place != dying and host.is_open)

    def fit(turn: int, left: tuple[int, ...]) -> bool:
        if turn == len(lost):
            return True
        return any(
            fit(turn + 1, tuple(sorted((*left[:at], room - lost[turn], *left[at + 1 :]))))
            for at, room in enumerate(left)
            if room >= lost[turn] and room not in left[:at]
        )

    return fit(0, tuple(sorted(rooms)))

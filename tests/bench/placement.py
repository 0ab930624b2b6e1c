"""Placement compared with Ganeti's hail, hspace and hbal: `python -m tests.bench.placement [--hosts
20,200,1000]`.

Both get the same clusters (fixed seeds; drained and dead hosts, exclusion groups, local and shared disks) and
the same machines in the same order. WebXen must not fail more often, spread worse, find less room, or balance
worse in as many moves. CPU seconds are compared, because the machine may be busy. hail takes seconds per
machine at 1000 hosts, so it gets fewer there; hbal would take hours for one move over all machines, so every
move is evaluated here first, and hbal tries the machines with the best ones.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from pathlib import Path

from tests.bench import placement_peers as peers
from tests.bench.placement_world import POOL, World, make, snapshot
from webxen.inventory.placement import HostFigures, MachineFigures, Need, capacity, choose_host, plan_balance
from webxen.inventory.placement.choose import pick, rank
from webxen.inventory.placement.cluster import Cluster
from webxen.inventory.placement.score import DISK, GROUP_WEIGHT, MEMORY, VCPUS

#: differences of floats caused by the order of summation
SAME = 1e-9
#: hbal prints eight digits
PRINTED = 1e-7
#: a host, and the change of two sums and two sums of squares
_Change = tuple[int, float, float, float, float]
Deviations = tuple[float, float, float]

LIMIT_MS = {200: 5.0, 1000: 25.0}


@dataclass(frozen=True)
class Scale:
    """The amount of work for hail and the other tools at this number of hosts."""

    wishes: int
    moves: int
    fills: tuple[float, ...]
    hspace_memory_gib: int
    #: number of machines that hbal tries, those with the best moves; 0: all
    hbal_machines: int = 0


SCALES = {
    20: Scale(wishes=60, moves=1000, fills=(0.6, 0.93), hspace_memory_gib=4),
    200: Scale(wishes=12, moves=3, fills=(0.6, 0.95), hspace_memory_gib=24),
    1000: Scale(wishes=3, moves=1, fills=(0.6, 0.97), hspace_memory_gib=40, hbal_machines=120),
}


@dataclass
class Run:
    """One side's placements in one cluster."""

    failures: int
    #: after each machine up to the first failure
    spreads: list[Deviations]
    ms: float
    is_n1: bool | None


@dataclass
class Line:
    what: str
    ours: str
    theirs: str
    is_right: bool


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", default="20,200,1000")
    parser.add_argument("--only", default="", choices=("", "hbal"), help="one kind of row")
    given = parser.parse_args(argv)
    if not peers.are_there():
        sys.stdout.write(f"{peers.HOW}\n")
        return 2
    is_right = True
    with tempfile.TemporaryDirectory() as name:
        for count in map(int, given.hosts.split(",")):
            for is_shared in (False, True):
                for line in _case(Path(name), count, is_shared=is_shared, only=given.only):
                    is_right = is_right and line.is_right
                    mark = "ok  " if line.is_right else "MISS"
                    sys.stdout.write(f"{mark} {line.what:44} {line.ours:58} | {line.theirs}\n")
                    sys.stdout.flush()
    return 0 if is_right else 1


def _case(folder: Path, count: int, *, is_shared: bool, only: str) -> Iterator[Line]:
    title = f"{count} hosts, {'shared' if is_shared else 'local '} disks"
    if not only:
        yield from _placing(folder, title, count, is_shared=is_shared)
    if is_shared:
        yield _beside_hbal(folder, f"{title}: hbal", count)


def _placing(folder: Path, title: str, count: int, *, is_shared: bool) -> Iterator[Line]:
    scale = SCALES[count]
    yield _cold(f"{title}: one machine from scratch", count, is_shared=is_shared)
    if is_shared:
        yield _n1_while_placing(f"{title}: N+1 kept while placing", count)
    for fill in scale.fills:
        world = make(seed=count, count=count, is_shared=is_shared, fill=fill, wishes=scale.wishes)
        yield _beside_hail(folder, f"{title}, {fill:.0%} full: hail", world, with_n1=False)
    if is_shared and count == min(SCALES):
        world = _all_open(make(seed=7, count=count, is_shared=True, fill=0.8, wishes=scale.wishes))
        yield _beside_hail(folder, f"{title}, 80% full: hail with N+1", world, with_n1=True)
    yield from _beside_hspace(folder, title, count, is_shared=is_shared)


# --- hail ----------------------------------------------------------------------------------------


def _beside_hail(folder: Path, title: str, world: World, *, with_n1: bool) -> Line:
    ours, theirs = _ours(world, with_n1=with_n1), _hail(folder, world, with_n1=with_n1)
    # after the first failure the clusters contain different machines: the spreads before it are compared
    turn = min(len(ours.spreads), len(theirs.spreads)) - 1
    pairs = zip(ours.spreads[turn], theirs.spreads[turn], strict=True)
    is_right = (
        ours.failures <= theirs.failures
        and all(one <= other + SAME for one, other in pairs)
        and ours.ms <= LIMIT_MS.get(len(world.hosts), 5.0)
        and (not with_n1 or bool(ours.is_n1))
    )
    return Line(title, _say(ours, turn), _say(theirs, turn), is_right)


def _say(run: Run, turn: int) -> str:
    sds = " ".join(f"{one:.6f}" for one in run.spreads[turn])
    n1 = {True: " N+1", False: " no N+1", None: ""}[run.is_n1]
    return f"{run.failures} fail, sd mem/disk/vcpu {sds}, {run.ms:.2f} ms{n1}"


def _ours(world: World, *, with_n1: bool) -> Run:
    """WebXen with or without N+1, as hail with or without its capacity checks."""
    cluster = Cluster(world.hosts)
    if cluster.shared:
        assert cluster.survival
    failures, spreads, spent = 0, [_spread(cluster)], 0.0
    for machine in world.wishes:
        begun = time.process_time()
        order = [place for _, place in rank(cluster, machine)]
        placed = pick(cluster, machine, order, prefers_n1=with_n1, must_keep_n1=with_n1)
        if placed:
            cluster.put(placed.place, machine)
        spent += time.process_time() - begun
        failures += placed is None
        if not failures:
            spreads.append(_spread(cluster))
    return _run_of(cluster, failures, spreads, spent * 1000 / len(world.wishes))


def _hail(folder: Path, world: World, *, with_n1: bool) -> Run:
    cluster, failures, spent = Cluster(world.hosts), 0, 0.0
    spreads = [_spread(cluster)]
    for machine in world.wishes:
        name, seconds = peers.hail(folder, snapshot(cluster, world.hosts), machine, with_n1=with_n1)
        spent += seconds
        if name:
            cluster.put(cluster.index[name], machine)
        failures += name is None
        if not failures:
            spreads.append(_spread(cluster))
    return _run_of(cluster, failures, spreads, spent * 1000 / len(world.wishes))


def _run_of(cluster: Cluster, failures: int, spreads: list[Deviations], ms: float) -> Run:
    return Run(failures, spreads, ms, cluster.survival.is_safe if cluster.shared else None)


def _spread(cluster: Cluster) -> Deviations:
    memory, disk, vcpus = (cluster.spreads[metric].deviation for metric in (MEMORY, DISK, VCPUS))
    return memory, disk, vcpus


def _all_open(world: World) -> World:
    hosts = (replace(host, is_active=True, is_silent=False, is_draining=False) for host in world.hosts)
    return replace(world, hosts=tuple(hosts))


# --- N+1 -----------------------------------------------------------------------------------------


def _n1_while_placing(title: str, count: int) -> Line:
    """Place until no host keeps N+1; at the end every plan is verified from scratch."""
    world = make(seed=count + 1, count=count, is_shared=True, fill=0.85, wishes=40 * count)
    cluster, placed_all, begun = Cluster(world.hosts), 0, time.process_time()
    was_safe = cluster.survival.is_safe
    for machine in world.wishes:
        order = [place for _, place in rank(cluster, machine)]
        placed = pick(cluster, machine, order, must_keep_n1=True)
        if placed is None:
            break
        cluster.put(placed.place, machine)
        placed_all += 1
    ms = (time.process_time() - begun) * 1000 / max(placed_all, 1)
    is_right = was_safe and not broken_plans(cluster) and ms <= LIMIT_MS.get(count, 5.0)
    full = 1 - sum(cluster.memory_free) / sum(cluster.memory)
    said = f"{placed_all} placed to {full:.1%} full, {ms:.2f} ms a machine"
    return Line(title, said, "(hail: minutes a request)" if count > 20 else "", is_right)


def broken_plans(cluster: Cluster) -> list[str]:
    """Return the hosts whose plan for their failure is not valid, by free memory alone."""
    broken = []
    for dying, host in enumerate(cluster.hosts):
        plan, left = cluster.survival.plans[dying], list(cluster.memory_free)
        at_stake = {one.id: one for one in cluster.machines[dying].values() if one.pool in host.shared_pools}
        for name, target in plan.items():
            left[target] -= at_stake[name].memory_mib
        is_elsewhere = all(target != dying and cluster.is_open[target] for target in plan.values())
        if plan.keys() != at_stake.keys() or not is_elsewhere or any(left[one] < 0 for one in plan.values()):
            broken.append(host.name)
    return broken


def _cold(title: str, count: int, *, is_shared: bool) -> Line:
    """Everything in one call, as in the portal: plan every host's failure, choose, give the reasons."""
    world = make(seed=count, count=count, is_shared=is_shared, fill=0.6, wishes=5)
    begun = time.process_time()
    choices = [choose_host(world.hosts, machine) for machine in world.wishes]
    ms = (time.process_time() - begun) * 1000 / len(choices)
    return Line(title, f"{ms:.1f} ms with the reasons of all hosts", "", all(one.host for one in choices))


# --- hspace --------------------------------------------------------------------------------------


def _beside_hspace(folder: Path, title: str, count: int, *, is_shared: bool) -> list[Line]:
    scale = SCALES[count]
    size = Need(memory_mib=scale.hspace_memory_gib * 1024, vcpus=2, disk_mib=20 * 1024, pool=POOL)
    world = make(seed=count, count=count, is_shared=is_shared, fill=max(scale.fills), wishes=0)
    lines = [_capacity(folder, f"{title}: hspace", world.hosts, size, with_n1=False)]
    if is_shared and count == min(SCALES):
        hosts = _all_open(make(seed=7, count=count, is_shared=True, fill=0.6, wishes=0)).hosts
        lines.append(_capacity(folder, f"{title}: hspace with N+1", hosts, size, with_n1=True))
    return lines


def _capacity(folder: Path, title: str, hosts: tuple[HostFigures, ...], size: Need, *, with_n1: bool) -> Line:
    begun = time.process_time()
    room = capacity(hosts, size)
    seconds = time.process_time() - begun
    theirs, spent = peers.hspace(folder, hosts, size, with_n1=with_n1)
    ours = room.machines_n1 if with_n1 else room.machines
    said = f"{ours} more of {size.memory_mib // 1024} GiB in {seconds:.2f} s; {room.hosts_may_fail} may fail"
    return Line(title, said, f"{theirs} in {spent:.2f} s", ours >= theirs)


# --- hbal ----------------------------------------------------------------------------------------


def _beside_hbal(folder: Path, title: str, count: int) -> Line:
    world = make(seed=count, count=count, is_shared=True, fill=0.6, wishes=0)
    # both move drained machines first, which says nothing about balance and takes all the time for many
    hosts = world.hosts if count == min(SCALES) else _all_open(world).hosts
    tries = SCALES[count].hbal_machines
    best = best_moves(Cluster(hosts)) if tries else []
    among = [name for _, name in best[:tries]] or None
    theirs = peers.hbal(folder, hosts, most=SCALES[count].moves, among=among)
    begun = time.process_time()
    moves = plan_balance(hosts, most=theirs.moves)
    seconds = time.process_time() - begun
    cluster = Cluster(hosts)
    for move in moves:
        machine: MachineFigures = move.machine
        cluster.move(machine, cluster.index[move.source], cluster.index[move.target])
    score = peers.hbal_score(folder, snapshot(cluster, hosts))
    was = peers.hbal_score(folder, hosts)
    said = f"{was:.5f} to {score:.8f} in {len(moves)} moves, {seconds:.2f} s"
    is_right = score <= theirs.score + PRINTED and len(moves) <= theirs.moves
    tried = f" among {len(among)} machines" if among else ""
    if best and len(moves) == 1:
        said += f", of all moves the best {best[0][0]:.8f}"
        is_right = is_right and moves[0].score <= best[0][0] + PRINTED
    beside = f"to {theirs.score:.8f} in {theirs.moves} moves{tried}, {theirs.seconds:.2f} s"
    return Line(title, said, beside, is_right)


def best_moves(cluster: Cluster) -> list[tuple[float, str]]:
    """Evaluate every move of every machine to every host; return each machine's best score, best first.

    For shared disks only. Machines of one size on one host gain equally, so one of them is evaluated.
    """
    memory, vcpus = cluster.spreads[MEMORY], cluster.spreads[VCPUS]
    count, rest = memory.count, cluster.score - memory.deviation - vcpus.deviation
    found, coming = [], dict[tuple[int, int, str], list[_Change]]()
    for source, machines in enumerate(cluster.machines):
        for one in {(one.memory_mib, one.vcpus, one.group): one for one in machines.values()}.values():
            shape = (one.memory_mib, one.vcpus, one.group)
            if shape not in coming:
                coming[shape] = [
                    _change(cluster, place, one, 1)
                    for place in range(len(cluster.hosts))
                    if cluster.refuse(place, one, is_move=True) is None
                ]
            gone = _change(cluster, source, one, -1)
            sums = (memory.total, memory.squares, vcpus.total, vcpus.squares)
            m, mm, v, vv = (kept + change for kept, change in zip(sums, gone[1:], strict=True))
            after = min(
                [
                    sqrt(max((mm + dmm) / count - ((m + dm) / count) ** 2, 0.0))
                    + sqrt(max((vv + dvv) / count - ((v + dv) / count) ** 2, 0.0))
                    for place, dm, dmm, dv, dvv in coming[shape]
                    if place != source
                ],
                default=float("inf"),
            )
            is_clash = bool(one.group) and cluster.groups[source].get(one.group, 0) > 1
            found.append((rest + after - (GROUP_WEIGHT if is_clash else 0.0), one.id))
    return sorted(found)


def _change(cluster: Cluster, place: int, machine: MachineFigures, sign: int) -> _Change:
    """Return the change of both metrics' sums and sums of squares when the machine is added or removed."""
    steps = cluster.steps(machine, place)
    dm, dv = sign * steps[MEMORY], sign * steps[VCPUS]
    was_memory, was_vcpus = cluster.ratio(MEMORY, place), cluster.ratio(VCPUS, place)
    return place, dm, dm * (2 * was_memory + dm), dv, dv * (2 * was_vcpus + dv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

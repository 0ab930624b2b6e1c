"""Run Ganeti's hail, hbal and hspace as child processes, and measure their CPU seconds."""

import json
import re
import resource
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.placement_world import POOL, as_text, moved_as_in
from webxen.inventory.placement.figures import HostFigures, MachineFigures, Need

HAIL = "/usr/lib/ganeti/iallocators/hail"
HOW = "hail, hbal and hspace are missing. On Debian: .ci/install bench (apt-get install ganeti-htools)"
TIMEOUT_SECONDS = 3600


def are_there() -> bool:
    return Path(HAIL).exists() and bool(shutil.which("hbal")) and bool(shutil.which("hspace"))


@dataclass(frozen=True)
class Ran:
    out: str
    seconds: float


def _run(*argv: str) -> Ran:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(argv, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Ran(done.stdout + done.stderr, spent)


def hail(
    folder: Path, hosts: Sequence[HostFigures], machine: MachineFigures, *, with_n1: bool
) -> tuple[str | None, float]:
    """Ask hail for a host; return its name or None, and the CPU seconds. Load is unknown to both:
    --ignore-dynu.
    """
    data, request = folder / "cluster", folder / "request"
    data.write_text(as_text(hosts))
    template = "rbd" if POOL in hosts[0].shared_pools else "plain"
    wish = {
        "type": "allocate",
        "name": machine.id,
        "memory": machine.memory_mib,
        "vcpus": machine.vcpus,
        "disk_space_total": machine.disk_mib,
        "disks": [{"size": machine.disk_mib, "mode": "w"}],
        "disk_template": template,
        "spindle_use": 1,
        "nics": [],
        "os": "x",
        "tags": [f"a:{machine.group}"] if machine.group else [],
        "required_nodes": 1,
        "hypervisor": "xen-pvm",
        "hvparams": {},
    }
    nothing: dict[str, object] = {"nodegroups": {}, "nodes": {}, "instances": {}, "ipolicy": {}}
    cluster = {
        "version": 2,
        "cluster_name": "c",
        "cluster_tags": ["htools:iextags:a"],
        "enabled_hypervisors": ["xen-pvm"],
    }
    request.write_text(json.dumps(nothing | cluster | {"request": wish}))
    options = () if with_n1 else ("--no-capacity-checks",)
    ran = _run(HAIL, "-t", str(data), "--ignore-dynu", *options, str(request))
    answer = json.loads(ran.out)
    return (answer["result"][0] if answer["success"] else None), ran.seconds


def hspace(folder: Path, hosts: Sequence[HostFigures], size: Need, *, with_n1: bool) -> tuple[int, float]:
    """Return how many more machines of the size hspace finds room for, and the CPU seconds."""
    data = folder / "cluster"
    data.write_text(as_text(hosts))
    template = "rbd" if POOL in hosts[0].shared_pools else "plain"
    spec = f"{size.disk_mib},{size.memory_mib},{size.vcpus}"
    options = () if with_n1 else ("--no-capacity-checks",)
    given = (
        "--machine-readable",
        "--tiered-alloc=0,0,0",
        f"--standard-alloc={spec}",
        f"--disk-template={template}",
        *options,
    )
    ran = _run("hspace", "-t", str(data), *given)
    found = re.search(r"HTS_ALLOC_INSTANCES=(\d+)", ran.out)
    if found is None:
        raise RuntimeError(ran.out[-2000:])
    return int(found[1]), ran.seconds


@dataclass(frozen=True)
class Balanced:
    hosts: tuple[HostFigures, ...]
    moves: int
    score: float
    seconds: float


def hbal(
    folder: Path, hosts: Sequence[HostFigures], *, most: int, among: Sequence[str] | None = None
) -> Balanced:
    """Let hbal balance with at most so many moves; return the resulting hosts, and its own score of them.

    `among`: the ids of the machines that it tries to move; all of them would take hours.
    """
    data = folder / "cluster"
    data.write_text(as_text(hosts))
    words = ["hbal", "-t", str(data), "--ignore-dynu", "-l", str(most), "-S", str(folder / "end")]
    ran = _run(*words, *([f"--select-instances={','.join(among)}"] if among else []))
    length = re.search(r"Solution length=(\d+)", ran.out)
    if length is None:
        raise RuntimeError(ran.out[-2000:])
    saved = folder / "end.balanced"
    end = moved_as_in(hosts, saved.read_text()) if int(length[1]) else tuple(hosts)
    return Balanced(end, int(length[1]), hbal_score(folder, end), ran.seconds)


def hbal_score(folder: Path, hosts: Sequence[HostFigures]) -> float:
    """Return hbal's score of a cluster, without moving anything."""
    data = folder / "cluster"
    data.write_text(as_text(hosts))
    ran = _run("hbal", "-t", str(data), "--ignore-dynu", "-l", "0")
    found = re.search(r"Initial score: ([\d.]+)", ran.out) or re.search(r"score (?:is )?([\d.]+)", ran.out)
    if found is None:
        raise RuntimeError(ran.out[-2000:])
    return float(found[1])

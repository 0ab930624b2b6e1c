"""Resources of a quota, and messages about what is missing. Pure."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Figures:
    """Resources of a machine, or of several machines."""

    machines: int
    vcpus: int
    memory_mib: int
    disk_gib: int

    def __add__(self, other: "Figures") -> "Figures":
        return Figures(
            self.machines + other.machines,
            self.vcpus + other.vcpus,
            self.memory_mib + other.memory_mib,
            self.disk_gib + other.disk_gib,
        )

    def __sub__(self, other: "Figures") -> "Figures":
        return Figures(
            self.machines - other.machines,
            self.vcpus - other.vcpus,
            self.memory_mib - other.memory_mib,
            self.disk_gib - other.disk_gib,
        )


NOTHING = Figures(0, 0, 0, 0)


@dataclass(frozen=True)
class Running:
    """Resources of running machines."""

    vcpus: int = 0
    memory_mib: int = 0


@dataclass(frozen=True)
class RunningLimit:
    """Limits for machines that run at the same time; None: no separate limit."""

    vcpus: int | None = None
    memory_mib: int | None = None


IDLE = Running()
UNLIMITED = RunningLimit()


@dataclass(frozen=True)
class Headroom:
    """A project's limits and what is reserved, which may exceed a limit that was lowered."""

    limit: Figures
    reserved: Figures
    running_limit: RunningLimit = UNLIMITED
    running: Running = IDLE

    @property
    def free(self) -> Figures:
        return self.limit - self.reserved


def describe_shortage(headroom: Headroom, need: Figures, *, running: Running | None = None) -> str:
    """Return what of `need` does not fit, or "".

    For example "2 GiB memory over quota: 4 GiB of 4 GiB reserved". A new machine runs: its vCPUs and memory
    are also checked against the running limits, unless `running` says what will run.
    """
    limit, held = headroom.limit, headroom.reserved
    on = Running(need.vcpus, need.memory_mib) if running is None else running
    cap = headroom.running_limit
    lines = [
        _line(need.machines, held.machines, limit.machines, "reserved", "", _count("machine")),
        _line(need.vcpus, held.vcpus, limit.vcpus, "reserved", "", _count("vCPU")),
        _line(need.memory_mib, held.memory_mib, limit.memory_mib, "reserved", " memory", mib),
        _line(need.disk_gib, held.disk_gib, limit.disk_gib, "reserved", " disk", _gib),
        _line(on.vcpus, headroom.running.vcpus, cap.vcpus, "running", "", _count("vCPU")),
        _line(on.memory_mib, headroom.running.memory_mib, cap.memory_mib, "running", " memory", mib),
    ]
    return "; ".join(line for line in lines if line)


def count_shortage(
    headroom: Headroom, need: Figures, *, running: Running | None = None
) -> dict[str, dict[str, int]]:
    """Return the shortage as data: needed, reserved, limit and missing of each resource that does not fit.

    Units are as in the resource's name: machines, vCPUs, MiB and GiB.
    """
    on = Running(need.vcpus, need.memory_mib) if running is None else running
    cap, held = headroom.running_limit, headroom.running
    rows: dict[str, tuple[int, int, int | None]] = {
        name: (getattr(need, name), getattr(headroom.reserved, name), getattr(headroom.limit, name))
        for name in ("machines", "vcpus", "memory_mib", "disk_gib")
    }
    rows["running_vcpus"] = (on.vcpus, held.vcpus, cap.vcpus)
    rows["running_memory_mib"] = (on.memory_mib, held.memory_mib, cap.memory_mib)
    return {
        name: {"needed": needed, "reserved": had, "limit": limit, "missing": had + needed - limit}
        for name, (needed, had, limit) in rows.items()
        if limit is not None and needed > 0 and had + needed > limit
    }


def describe_whole(limit: Figures, running: RunningLimit) -> str:
    """Return all limits in one line, for the audit."""
    said = (
        f"{limit.machines} machines, {limit.vcpus} vCPU, {mib(limit.memory_mib)} memory, "
        f"{limit.disk_gib} GiB disk"
    )
    if running.vcpus is not None:
        said += f", {running.vcpus} vCPU running"
    if running.memory_mib is not None:
        said += f", {mib(running.memory_mib)} memory running"
    return said


def _line(need: int, held: int, limit: int | None, how: str, what: str, say: Callable[[int], str]) -> str:
    if limit is None or need <= 0 or held + need <= limit:
        return ""
    missing = f"{say(held + need - limit)}{what} over quota"
    counted = say in (mib, _gib)
    return f"{missing}: {say(held) if counted else held} of {say(limit) if counted else limit} {how}"


def _count(word: str) -> Callable[[int], str]:
    return lambda number: f"{number} {word}" if number == 1 else f"{number} {word}s"


def _gib(number: int) -> str:
    return f"{number} GiB"


def mib(number: int) -> str:
    """4096 → "4 GiB", 4864 → "4.75 GiB", 192 → "192 MiB"; other values are given in MiB."""
    if number >= 1024 and number % 256 == 0:
        return f"{number / 1024:g} GiB"
    return f"{number} MiB"

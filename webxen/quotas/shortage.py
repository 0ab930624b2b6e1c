"""Resources of a quota, and messages about what is missing. Pure."""

from dataclasses import dataclass

from webxen.core.messages import Message, tell_all


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

    For example "2 GiB of memory over quota: 4 GiB of 4 GiB used". A new machine runs: its vCPUs and memory
    are also checked against the running limits, unless `running` says what will run.
    """
    limit, held = headroom.limit, headroom.reserved
    on = Running(need.vcpus, need.memory_mib) if running is None else running
    cap = headroom.running_limit
    lines = [
        _line("OVER_MACHINES", "", need.machines, held.machines, limit.machines),
        _line("OVER_VCPUS", "", need.vcpus, held.vcpus, limit.vcpus),
        _line("OVER_MEMORY", "_mib", need.memory_mib, held.memory_mib, limit.memory_mib),
        _line("OVER_DISK", "_gib", need.disk_gib, held.disk_gib, limit.disk_gib),
        _line("OVER_RUNNING_VCPUS", "", on.vcpus, headroom.running.vcpus, cap.vcpus),
        _line("OVER_RUNNING_MEMORY", "_mib", on.memory_mib, headroom.running.memory_mib, cap.memory_mib),
    ]
    return tell_all(line for line in lines if line)


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
    return tell_all(
        [
            Message(
                "QUOTA_WHOLE",
                machines=limit.machines,
                vcpus=limit.vcpus,
                memory_mib=limit.memory_mib,
                disk_gib=limit.disk_gib,
            ),
            "" if running.vcpus is None else Message("QUOTA_WHOLE_RUNNING_VCPUS", vcpus=running.vcpus),
            ""
            if running.memory_mib is None
            else Message("QUOTA_WHOLE_RUNNING_MEMORY", memory_mib=running.memory_mib),
        ]
    )


def _line(code: str, unit: str, need: int, held: int, limit: int | None) -> Message | None:
    """One resource that does not fit; `unit` is what its parameters' names end with."""
    if limit is None or need <= 0 or held + need <= limit:
        return None
    over = f"over{unit}" if unit else "n"
    return Message(code, **{over: held + need - limit, f"used{unit}": held, f"limit{unit}": limit})

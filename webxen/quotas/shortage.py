"""Figures of a quota and the sentence that says what is missing: pure."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Figures:
    """What a machine, or a sum of machines, takes."""

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


@dataclass(frozen=True)
class Headroom:
    """A project's quota as it stands."""

    limit: Figures
    reserved: Figures

    @property
    def free(self) -> Figures:
        return self.limit - self.reserved


def describe_shortage(headroom: Headroom, need: Figures) -> str:
    """Say exactly what of `need` does not fit, or nothing.

    As in "2 GiB memory over quota: 4 GiB of 4 GiB reserved".
    """
    missing = need - headroom.free
    limit, reserved = headroom.limit, headroom.reserved
    lines = []
    if missing.machines > 0:
        lines.append(_line(_count(missing.machines, "machine"), str(reserved.machines), str(limit.machines)))
    if missing.vcpus > 0:
        lines.append(_line(_count(missing.vcpus, "vCPU"), str(reserved.vcpus), str(limit.vcpus)))
    if missing.memory_mib > 0:
        lines.append(
            _line(f"{mib(missing.memory_mib)} memory", mib(reserved.memory_mib), mib(limit.memory_mib))
        )
    if missing.disk_gib > 0:
        lines.append(
            _line(f"{missing.disk_gib} GiB disk", f"{reserved.disk_gib} GiB", f"{limit.disk_gib} GiB")
        )
    return "; ".join(lines)


def _line(missing: str, reserved: str, limit: str) -> str:
    return f"{missing} over quota: {reserved} of {limit} reserved"


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def mib(number: int) -> str:
    """4096 → "4 GiB", 192 → "192 MiB"."""
    if number and number % 1024 == 0:
        return f"{number // 1024} GiB"
    return f"{number} MiB"

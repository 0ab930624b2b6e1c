"""The bridges of this host, as the kernel lists them."""

from pathlib import Path


def read_bridges(devices: Path) -> tuple[str, ...]:
    """Names of the bridges below `devices`, which is /sys/class/net on a host, in alphabetical order."""
    return tuple(sorted(path.parent.name for path in devices.glob("*/bridge")))

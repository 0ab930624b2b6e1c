"""Choosing a host: pure, over plain numbers. Reading hosts and holding their memory is elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass, field


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


@dataclass(frozen=True)
class Need:
    """What a machine takes."""

    memory_mib: int
    disk_mib: int
    image_file: str
    image_sha256: str
    pool: str = "local"
    bridge: str = ""


@dataclass(frozen=True)
class Choice:
    """`host` is None when none fits; `reasons` says for each host why not."""

    host: str | None
    reasons: dict[str, str]

    def explain(self) -> str:
        if not self.reasons:
            return "No host is known yet."
        return "No host has room: " + "; ".join(f"{name}: {why}" for name, why in self.reasons.items()) + "."


def choose_host(hosts: Sequence[HostFigures], need: Need, *, wanted: str | None = None) -> Choice:
    """Take the fitting host with the most free memory; the name settles a tie.

    `wanted`: only this host is looked at.
    """
    looked_at = [host for host in hosts if wanted is None or host.name == wanted]
    reasons = {host.name: why_not(host, need) for host in looked_at}
    fitting = [host for host in looked_at if not reasons[host.name]]
    best = min(fitting, key=lambda host: (-host.memory_free_mib, host.name), default=None)
    return Choice(best.name if best else None, {name: why for name, why in reasons.items() if why})


def why_not(host: HostFigures, need: Need) -> str:
    """Say why the machine cannot go there, or nothing."""
    disk_free_mib = host.pools.get(need.pool, 0)
    # A host that has not checked its images says nothing of them: the worker looks again before it
    # makes anything, so silence is no reason to refuse. A digest that differs is.
    digest = host.images.get(need.image_file) or need.image_sha256
    rules = (
        (not host.is_active, "takes no new machines"),
        (host.is_silent, "has not been heard of lately"),
        (
            host.memory_free_mib < need.memory_mib,
            f"{max(host.memory_free_mib, 0)} MiB memory free, {need.memory_mib} MiB needed",
        ),
        (need.pool not in host.pools, f"has no pool named {need.pool}"),
        (disk_free_mib < need.disk_mib, f"{disk_free_mib} MiB disk free, {need.disk_mib} MiB needed"),
        (bool(need.bridge) and need.bridge not in host.bridges, f"has no bridge {need.bridge}"),
        (digest != need.image_sha256, f"its copy of image {need.image_file} is not the registered one"),
    )
    return next((why for is_broken, why in rules if is_broken), "")

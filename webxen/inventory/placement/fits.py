"""Rules whether a machine fits on a host, and why not. No score overrides them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from webxen.inventory.placement.figures import HostFigures, Need

#: code → English; the pages have translations of the same sentences
SENTENCES = {
    "INACTIVE": "takes no new machines",
    "DRAINING": "takes no new machines",
    "SILENT": "has not been heard of lately",
    "MEMORY": "{free} MiB memory free, {needed} MiB needed",
    "NO_POOL": "has no pool named {pool}",
    "DISK": "{free} MiB disk free and not promised, {needed} MiB needed",
    "NO_BRIDGE": "has no bridge {bridge}",
    "IMAGE": "its copy of image {image} is not the registered one",
    "VCPUS": "{free} vCPUs free, {needed} needed",
    "GROUP": "has a machine of group {group} already",
    "FITS": "fits",
    "FITS_N1": "fits, leaves N+1",
    "FITS_BREAKS_N1": "fits, but then one host may not die",
}


@dataclass(frozen=True)
class Verdict:
    """Placement's result for one host."""

    host: str
    code: str
    numbers: Mapping[str, int | str] = field(default_factory=dict)

    @property
    def is_fit(self) -> bool:
        return self.code.startswith("FITS")

    def __str__(self) -> str:
        return SENTENCES[self.code].format(**self.numbers)


def vcpu_limit(host: HostFigures) -> float:
    """Return how many vCPUs may be promised on the host."""
    return host.cpus * host.vcpu_ratio if host.cpus and host.vcpu_ratio else float("inf")


def refuse_always(host: HostFigures, need: Need) -> Verdict | None:
    """Check the rules that do not depend on the other machines of the host."""
    # A host that has not verified its images reports no digest, which is no reason to refuse: the worker
    # verifies the image before it creates anything. A different digest is.
    digest = host.images.get(need.image_file) or need.image_sha256
    rules: tuple[tuple[bool, str, dict[str, int | str]], ...] = (
        (host.is_draining, "DRAINING", {}),
        (not host.is_active, "INACTIVE", {}),
        (host.is_silent, "SILENT", {}),
        (need.pool not in host.pools, "NO_POOL", {"pool": need.pool}),
        (bool(need.bridge) and need.bridge not in host.bridges, "NO_BRIDGE", {"bridge": need.bridge}),
        (digest != need.image_sha256, "IMAGE", {"image": need.image_file}),
    )
    return next((Verdict(host.name, code, says) for is_broken, code, says in rules if is_broken), None)

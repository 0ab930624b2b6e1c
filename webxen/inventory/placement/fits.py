"""Rules whether a machine fits on a host, and why not. No score overrides them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from webxen.core.messages import Message
from webxen.inventory.placement.figures import HostFigures, Need

#: what is said of a host, by the verdict's own code
SAID = {
    "INACTIVE": "HOST_INACTIVE",
    "DRAINING": "HOST_INACTIVE",
    "SILENT": "HOST_NO_CONTACT",
    "MEMORY": "TOO_LITTLE_MEMORY",
    "NO_POOL": "HOST_LACKS_POOL",
    "DISK": "TOO_LITTLE_DISK",
    "NO_BRIDGE": "HOST_LACKS_BRIDGE",
    "IMAGE": "HOST_IMAGE_DIFFERS",
    "VCPUS": "TOO_FEW_VCPUS",
    "GROUP": "HOST_HAS_GROUP",
    "FITS": "FITS",
    "FITS_N1": "FITS_N1",
    "FITS_BREAKS_N1": "FITS_BREAKS_N1",
}
IN_MIB = frozenset({"MEMORY", "DISK"})


def describe(code: str, numbers: Mapping[str, int | str]) -> Message:
    """A verdict as a message; one that was kept by another version is shown with its code and numbers."""
    unit = "_mib" if code in IN_MIB else ""
    return Message(SAID.get(code, code), **{f"{name}{unit}": value for name, value in numbers.items()})


@dataclass(frozen=True)
class Verdict:
    """Placement's result for one host."""

    host: str
    code: str
    numbers: Mapping[str, int | str] = field(default_factory=dict)

    @property
    def is_fit(self) -> bool:
        return self.code.startswith("FITS")

    @property
    def message(self) -> Message:
        return describe(self.code, self.numbers)

    def __str__(self) -> str:
        return str(self.message)


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

"""The steps that creating and starting have in common: CONFIG, DOMAIN, KERNEL, INIT, LOGIN.

Writes the configuration, runs `xl create` and watches the guest boot. Disks are made in `provision`.
"""

import time
from pathlib import Path
from typing import Literal

from worker import failpoints
from worker.contract import BadFeatures, Order, StartMachine
from worker.errors import ConfigRefused, KernelMissing
from worker.files import write_plain
from worker.guest import domains, leases, machine_files, readiness
from worker.job.context import JobContext
from worker.xen import config, libxlutil


def write_config(work: JobContext[Order]) -> Path:
    """Write machine.cfg and read it back with xl's own parser. Returns its path.

    Raises ConfigRefused, KernelMissing.
    """
    with work.step("CONFIG"):
        path = work.dom0.settings.machine_config(work.machine.id)
        try:
            keys = config.keys_of(
                work.machine,
                virt_type=_type(work),
                kernel_path=_kernel(work, work.machine.image.kernel),
                ramdisk_path=_kernel(work, work.machine.image.ramdisk) if work.machine.image.ramdisk else "",
                disk_paths=_disk_paths(work),
                seed_path=_seed_path(work),
            )
            text = config.write(keys)
        except (config.RefusedValue, BadFeatures) as error:
            raise ConfigRefused("CONFIG_NOT_WRITTEN", error=error) from error
        write_plain(path, text.encode())  # not durable: each start writes it again
        failpoints.reach("a configuration is there")
        _read_back(path, keys)
    return path


def _read_back(path: Path, keys: config.Keys) -> None:
    try:
        found = libxlutil.read(path)
    except config.BadConfig as error:
        raise ConfigRefused("CONFIG_NOT_ACCEPTED", error=error) from error
    differences = config.differences(keys, found) if found is not None else []
    if differences:
        raise ConfigRefused("CONFIG_READ_DIFFERENTLY", difference=differences[0])


def _type(work: JobContext[Order]) -> Literal["PV", "PVH"]:
    if work.machine.type == "AUTO":
        return "PVH" if work.dom0.best_type == "PVH" else "PV"
    return work.machine.type


def _kernel(work: JobContext[Order], name: str) -> str:
    path = work.dom0.settings.kernels_dir / name
    if not name or not path.is_file():
        raise KernelMissing("KERNEL_NOT_HERE", name=name or "(none)")
    return str(path)


def _disk_paths(work: JobContext[Order]) -> dict[str, str]:
    return {
        disk.id: str(work.dom0.pools.find(disk.pool).path(work.machine.id, disk.id))
        for disk in work.machine.disks
    }


def _seed_path(work: JobContext[Order]) -> str:
    path = machine_files.seed_iso(work.dom0.settings, work.machine.id)
    return str(path) if path.exists() else ""


def start_domain(work: JobContext[Order], path: Path) -> None:
    """Make the domain, unless an earlier attempt at this job made it. Raises WorkerError."""
    with work.step("DOMAIN"):
        # Always first, also when the domain of an earlier attempt exists: another host may hold the disks
        # now, and then this host starts nothing and undoes what it began.
        take_disks(work)
        if not domains.clear(work):
            work.console_start = readiness.size_of(work.dom0.settings.console_log(work.machine.id))
            # Marked first: from here on, a cleanup after a failure includes the domain.
            work.mark(domain="made", console_start=str(work.console_start))
            with work.dom0.quiet.hold():
                domains.create(work, path)
        else:
            work.console_start = int(work.entry.marks.get("console_start", "0"))
    work.news.step("DOMAIN", work.share("DOMAIN", 1.0))


def take_disks(work: JobContext[Order]) -> None:
    """Take the lease of the machine's disks and make them visible on this host. Raises LeaseHeld."""
    dom0, machine = work.dom0, work.machine
    taking_over = work.order.takes_over_from if isinstance(work.order, StartMachine) else ""
    leases.take(dom0, machine, fence=work.order.fence, takes_over_from=taking_over)
    leases.make_visible(dom0, machine)


def watch_login(work: JobContext[Order], *, until: float) -> bool:
    """Follow the boot on the console until `until` (monotonic).

    Returns False if no login prompt came in time.
    """
    watch = readiness.Watch(work.dom0.settings.console_log(work.machine.id), max(0, work.console_start))
    with work.dom0.quiet.hold():
        return readiness.wait_for_login(
            watch,
            until=min(until, work.deadline),
            on_phase=lambda phase: _say_phase(work, phase),
            is_alive=lambda: domains.is_up(domains.find(work.dom0, work.machine.id)),
            on_look=work.check_cancelled,
        )


def _say_phase(work: JobContext[Order], phase: str) -> None:
    with work.step(phase):
        pass


def seconds_from_now(seconds: float) -> float:
    """A time on the monotonic clock, this many seconds from now."""
    return time.monotonic() + seconds

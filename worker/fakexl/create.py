"""`xl create`: a configuration becomes a running stand-in domain, or the error the real xl gives.

Lives here: reading the configuration with Xen's own parser where it is installed, the checks xl and
libxl make, in their order. Printing and the other verbs are in `worker.fakexl.verbs`.
"""

import stat
import time
from pathlib import Path

from worker import config, xlcfg
from worker.fakexl import domain as processes
from worker.fakexl import printing, settings, state
from worker.fakexl.faults import Faults
from worker.fakexl.refusal import Refusal


def create(directory: Path, cfg_path: Path, *, is_paused: bool, faults: Faults) -> str:
    """Do it; gives what is printed on standard error when all went well."""
    host = settings.load(directory)
    facts = _facts(cfg_path)
    faults.reach("parsed")
    _check_kernel(facts)
    time.sleep(host.create_seconds)
    store = state.Store(directory, host.host)
    try:
        with store.locked() as known:
            _check_memory(host, known, facts)
            faults.reach("memory")
            domid = known.take_domid()
            refusal = _refusal(known, facts, domid)
            if refusal is None:
                _start(directory, store, known, facts, domid, is_paused=is_paused)
        if refusal is not None:
            raise refusal
    finally:
        faults.reach("domain")
    return f"Parsing config from {cfg_path}\n"


def _facts(cfg_path: Path) -> config.Facts:
    try:
        text = cfg_path.read_bytes()
    except OSError as error:
        raise Refusal(f"Failed to read config file: {cfg_path}: {error.strerror}\n") from None
    try:
        keys = xlcfg.parse(text, source=str(cfg_path))
        if keys is None:
            keys = config.parse(text.decode("utf-8", "replace"))
        facts = config.facts_of(keys)
    except config.BadConfig as bad:
        said = f"{cfg_path}: config parsing error: {bad}\n" if "parsing error" not in str(bad) else f"{bad}\n"
        raise Refusal(f"{said}Failed to parse config: Invalid argument\n") from None
    if not facts.name:
        raise Refusal("Domain name must be specified.\n")
    return facts


def _check_kernel(facts: config.Facts) -> None:
    if facts.type != "HVM" and not facts.kernel and not facts.bootloader:
        raise Refusal("Neither kernel nor bootloader specified\n")
    for path in (facts.kernel, facts.ramdisk):
        if path and not Path(path).is_file():
            raise Refusal(
                f"xc: error: panic: xg_dom_core.c:xc_dom_kernel_file: failed to open {path}: "
                "No such file or directory: Internal error\n"
                f"libxl: error: libxl_dom.c:657:libxl__build_dom: xc_dom_kernel_file({path}) failed: "
                "No such file or directory\n"
            )


def _check_memory(host: settings.Settings, known: state.State, facts: config.Facts) -> None:
    if facts.maxmem_mib + printing.OVERHEAD_MIB > printing.free_memory_mib(host, known):
        raise Refusal("failed to free memory for the domain\n")


def _refusal(known: state.State, facts: config.Facts, domid: int) -> Refusal | None:
    for disk in facts.disks:
        if said := _unusable(disk):
            return Refusal(said)
    if known.by_name(facts.name) is not None or facts.name == "Domain-0":
        return Refusal(
            f"libxl: error: libxl_domain.c:81:libxl__domain_rename: Domain {domid}:"
            f'Domain with name "{facts.name}" already exists.\n'
            f"libxl: error: libxl_create.c:1351:initiate_domain_create: Domain {domid}:"
            "cannot make domain: -6\n"
            f"libxl: error: libxl_domain.c:354:libxl_domain_info: Domain {domid}:"
            "Getting domain info: No such process\n"
            f"libxl: error: libxl_domain.c:1179:libxl__destroy_domid: Domain {domid}:Non-existant domain\n"
            f"libxl: error: libxl_domain.c:1133:domain_destroy_callback: Domain {domid}:"
            "Unable to destroy guest\n"
            f"libxl: error: libxl_domain.c:1060:domain_destroy_cb: Domain {domid}:"
            "Destruction of domain failed\n"
        )
    # The hotplug script looks at the disk last, when the domain is there already.
    taken = next((said for disk in facts.disks if (said := _taken(known, disk))), "")
    return Refusal(taken) if taken else None


def _unusable(disk: config.DiskFact) -> str:
    try:
        mode = Path(disk.target).stat().st_mode
    except OSError as error:
        return (
            "libxl: error: libxl_device.c:362:libxl__device_disk_set_backend: "
            f"Disk vdev={disk.vdev} failed to stat: {disk.target}: {error.strerror}\n"
        )
    if not stat.S_ISREG(mode) and not stat.S_ISBLK(mode):
        return (
            "libxl: error: libxl_device.c:249:libxl__device_disk_set_backend: "
            f"Disk vdev={disk.vdev} is neither a file nor a block device: {disk.target}\n"
        )
    return ""


def _taken(known: state.State, disk: config.DiskFact) -> str:
    for domain in known.domains.values():
        for target, _, is_writable in domain.disks:
            if target == disk.target and (is_writable or disk.is_writable) and not domain.shutdown_letter:
                return (
                    "libxl: error: libxl_device.c:1329:device_hotplug_child_death_cb: script: "
                    f"File {target} is loopback-mounted through /dev/loop{domain.domid},\n"
                    "which is used in a guest domain,\nand so cannot be mounted now.\n"
                )
    return ""


def _start(
    directory: Path,
    store: state.Store,
    known: state.State,
    facts: config.Facts,
    domid: int,
    *,
    is_paused: bool,
) -> None:
    domain = state.Domain(
        domid=domid,
        uuid=facts.uuid or Path("/proc/sys/kernel/random/uuid").read_text().strip(),
        name=facts.name,
        type=facts.type.lower(),
        memory_mib=facts.memory_mib,
        maxmem_mib=max(facts.maxmem_mib, facts.memory_mib),
        vcpus=facts.vcpus,
        keys={
            "kernel": facts.kernel,
            "ramdisk": facts.ramdisk,
            "cmdline": facts.cmdline,
            "on_reboot": facts.on_reboot,
            "nics": [
                {"mac": nic.mac, **({"ip": nic.ip} if nic.ip else {}), "bridge": nic.bridge}
                for nic in facts.nics
            ],
        },
        disks=[[disk.target, disk.vdev, disk.is_writable] for disk in facts.disks],
        is_paused=is_paused,
    )
    processes.fork_domain(directory, domain)
    store.started(known, domain)

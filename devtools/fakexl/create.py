"""`xl create`: makes a running stand-in domain of a configuration, or fails as the real xl does.

Reads the configuration with Xen's own parser if it is installed, then makes the checks of xl and libxl in
their order. Their messages are in `devtools.fakexl.words`.
"""

import stat
import time
from pathlib import Path

from devtools.fakexl import domain as processes
from devtools.fakexl import printing, settings, state, words
from devtools.fakexl.faults import Faults
from devtools.fakexl.refusal import Refusal
from worker.xen import config, libxlutil


def create(directory: Path, cfg_path: Path, *, is_paused: bool, said: str, faults: Faults) -> None:
    """Create the domain. `said` is what standard error shows before anything else. Raises Refusal."""
    host = settings.load(directory)
    try:
        text = cfg_path.read_bytes()
    except OSError as error:
        raise Refusal(f"Failed to read config file: {cfg_path}: {error.strerror}\n", rc=3) from None
    facts = _facts(text, cfg_path, said)
    faults.reach("parsed")
    time.sleep(host.create_seconds)
    store = state.Store(directory, host.host)
    with store.locked() as known:
        domid = known.take_domid()
        refused = _refused(host, known, facts, domid)
        if not refused:
            _start(directory, store, known, facts, domid, is_paused=is_paused)
    if refused:
        raise Refusal(said + refused + words.create_tail(domid), rc=3)
    faults.reach("domain")


def _facts(text: bytes, cfg_path: Path, said: str) -> config.Facts:
    try:
        keys = libxlutil.parse(text, source=str(cfg_path))
        if keys is None:
            keys = config.parse(text.decode("utf-8", "replace"))
    except config.BadConfig as bad:
        where = "" if "parsing error" in str(bad) else f"{cfg_path}:1: config parsing error: "
        raise Refusal(f"{said}{where}{bad}\nFailed to parse config: Invalid argument\n") from None
    try:
        facts = config.facts_of(keys)
    except config.BadConfig as bad:
        kind = f"Invalid domain type {keys['type']}." if str(bad).startswith("type") else str(bad)
        raise Refusal(f"{said}{kind}\n") from None
    if not facts.name:
        raise Refusal(f"{said}Domain name must be specified.\n")
    if facts.type != "HVM" and not facts.kernel and not facts.bootloader:
        raise Refusal(f"{said}Neither kernel nor bootloader specified\n")
    return facts


def _refused(host: settings.Settings, known: state.State, facts: config.Facts, domid: int) -> str:
    """Return the messages of libxl about a domain that it cannot make; "" if it can."""
    for index, disk in enumerate(facts.disks):
        if fault := _unusable(disk):
            return fault + words.disk_defaults(domid, index)
    if known.by_name(facts.name) is not None or facts.name == "Domain-0":
        return words.name_taken(domid, facts.name)
    for path in (facts.kernel, facts.ramdisk):
        if path and not Path(path).is_file():
            return words.no_kernel(domid, path)
    if facts.maxmem_mib + printing.OVERHEAD_MIB > printing.free_memory_mib(host, known):
        return words.no_memory(domid)
    # the hotplug scripts check last, when the domain exists already
    for disk in facts.disks:
        if taken_by := _taken_by(known, disk):
            return words.disk_taken(domid, disk.target, taken_by)
    bridges = host.bridges.split()
    missing = next((nic.bridge for nic in facts.nics if bridges and nic.bridge not in bridges), "")
    return words.no_bridge(domid, missing) if missing else ""


def _unusable(disk: config.DiskFact) -> str:
    try:
        mode = Path(disk.target).stat().st_mode
    except OSError as error:
        return words.disk_unusable(f"Disk vdev={disk.vdev} failed to stat: {disk.target}: {error.strerror}")
    if not stat.S_ISREG(mode) and not stat.S_ISBLK(mode):
        return words.disk_unusable(
            f"Disk vdev={disk.vdev} is neither a file nor a block device: {disk.target}"
        )
    return ""


def _taken_by(known: state.State, disk: config.DiskFact) -> int:
    """Domid of a running domain that uses the disk, if one of the two writes to it; else 0."""
    for domain in known.domains.values():
        for target, _, is_writable in domain.disks:
            if target == disk.target and (is_writable or disk.is_writable) and not domain.shutdown_letter:
                return domain.domid
    return 0


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
        pauses=int(is_paused),
    )
    processes.fork_domain(directory, domain)
    store.started(known, domain)

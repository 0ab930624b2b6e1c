"""What the stand-in prints: `xl info`, `xl list` in its three formats, `xl vcpu-list`. Pure.

The format is that of Xen 4.20, compared with the captured output in tests/worker/captured.
"""

import json
from collections.abc import Iterable
from typing import Any

from devtools.fakexl.settings import Settings
from devtools.fakexl.state import Domain, State, cpu_seconds

#: memory that Xen uses for a domain beside the domain's own
OVERHEAD_MIB = 2
HEADING = "Name                                        ID   Mem VCPUs\tState\tTime(s)"
VERBOSE = "   UUID                            Reason-Code\tSecurity Label"
DOM0_UUID = "00000000-0000-0000-0000-000000000000"


def free_memory_mib(settings: Settings, state: State) -> int:
    taken = sum(domain.maxmem_mib + OVERHEAD_MIB for domain in state.domains.values())
    return settings.total_memory_mib - settings.dom0_memory_mib - taken


def info(settings: Settings, state: State) -> str:
    facts = {
        "host": settings.host,
        "release": "6.12.117+deb13-amd64",
        "version": "#1 SMP PREEMPT_DYNAMIC Debian 6.12.117-1 (2026-11-12)",
        "machine": "x86_64",
        "nr_cpus": settings.nr_cpus,
        "max_cpu_id": settings.nr_cpus - 1,
        "nr_nodes": 1,
        "cores_per_socket": settings.nr_cpus,
        "threads_per_core": 1,
        "cpu_mhz": "1996.248",
        "hw_caps": "0fcbf3fd:f2d8320b:e4500800:00000075:00000000:018843a9:8001020c:00000000",
        "virt_caps": settings.virt_caps,
        "total_memory": settings.total_memory_mib,
        "free_memory": free_memory_mib(settings, state),
        "sharing_freed_memory": 0,
        "sharing_used_memory": 0,
        "outstanding_claims": 0,
        "free_cpus": 0,
        "xen_major": 4,
        "xen_minor": 20,
        "xen_extra": ".5-pre",
        "xen_version": "4.20.5-pre",
        "xen_caps": "xen-3.0-x86_64 hvm-3.0-x86_32 hvm-3.0-x86_32p hvm-3.0-x86_64 ",
        "xen_scheduler": "credit2",
        "xen_pagesize": 4096,
        "platform_params": "virt_start=0xffff800000000000",
        "xen_changeset": "",
        "xen_commandline": f"dom0_mem={settings.dom0_memory_mib}M,max:{settings.dom0_memory_mib}M fakexl",
        "cc_compiler": "x86_64-linux-gnu-gcc (Debian 14.2.0-19) 14.2.0",
        "cc_compile_by": "fakexl",
        "cc_compile_domain": "",
        "cc_compile_date": "Tue Nov  3 20:11:50 UTC 2026",
        "build_id": "0000000000000000000000000000000000000000",
        "xend_config_format": 4,
    }
    return "".join(f"{key:<22} : {value}\n" for key, value in facts.items())


def dom0(settings: Settings) -> Domain:
    return Domain(
        domid=0,
        uuid=DOM0_UUID,
        name="Domain-0",
        type="pv",
        memory_mib=settings.dom0_memory_mib,
        maxmem_mib=settings.dom0_memory_mib,
        vcpus=settings.nr_cpus,
        keys={},
    )


def listing(domains: Iterable[Domain], *, is_verbose: bool) -> str:
    lines = [HEADING + (VERBOSE if is_verbose else "")]
    for domain in domains:
        row = (
            f"{domain.name:<40} {domain.domid:5} {domain.memory_mib:5} {domain.vcpus:5}     "
            f"{flags(domain)}  {_seconds(domain):8.1f}"
        )
        if is_verbose:
            codes = {"-": "0", "r": "1", "s": "2", "c": "3"}
            row += f" {domain.uuid} {codes.get(domain.shutdown_letter, '-'):>8} {'-':>16}"
        lines.append(row)
    return "\n".join(lines) + "\n"


def flags(domain: Domain) -> str:
    if domain.domid == 0:
        return "r-----"
    if domain.shutdown_letter:
        return f"--ps{domain.shutdown_letter}-"
    return "--p---" if domain.is_paused else "-b----"


def _seconds(domain: Domain) -> float:
    return 239.7 if domain.domid == 0 else cpu_seconds(domain.pid)


def vcpu_listing(domains: Iterable[Domain]) -> str:
    lines = ["Name                                ID  VCPU   CPU State   Time(s) Affinity (Hard / Soft)"]
    for domain in domains:
        for vcpu in range(domain.vcpus):
            state = "r--" if domain.domid == 0 else flags(domain)[:3]
            lines.append(
                f"{domain.name:<32} {domain.domid:5} {vcpu:5} {vcpu:4}   {state} {_seconds(domain):9.1f}"
                "  all / all"
            )
    return "\n".join(lines) + "\n"


def long_listing(domains: Iterable[Domain]) -> str:
    return json.dumps([_entry(domain) for domain in domains], indent=4) + "\n"


def _entry(domain: Domain) -> dict[str, Any]:
    scheduling = {"sched": "credit2", "weight": 256, "cap": 0}
    if domain.domid == 0:
        memory = domain.memory_mib * 1024
        build: dict[str, Any] = {"max_memkb": memory, "target_memkb": memory - 1, "sched_params": scheduling}
        build.update({"type.pv": {}, "arch_arm": {}, "arch_x86": {}})
        return {"domid": 0, "config": {"c_info": {"type": "pv", "name": "Domain-0"}, "b_info": build}}
    build = {
        "max_vcpus": domain.vcpus,
        "avail_vcpus": list(range(domain.vcpus)),
        "max_memkb": domain.maxmem_mib * 1024,
        "target_memkb": domain.memory_mib * 1024,
        "video_memkb": 0,
        "sched_params": scheduling,
        "claim_mode": "True",
        "kernel": domain.keys["kernel"],
        "cmdline": domain.keys["cmdline"],
        **({"ramdisk": domain.keys["ramdisk"]} if domain.keys["ramdisk"] else {}),
        f"type.{domain.type}": {},
        "arch_arm": {},
        "arch_x86": {"msr_relaxed": "False"},
    }
    config = {
        "c_info": {
            "type": domain.type,
            "name": domain.name,
            "domid": 4294967295,
            "uuid": domain.uuid,
            "run_hotplug_scripts": "True",
        },
        "b_info": build,
        "disks": [
            {
                "pdev_path": target,
                "vdev": vdev,
                "format": "raw",
                "readwrite": int(is_writable),
                "colo_restore_enable": "False",
            }
            for target, vdev, is_writable in domain.disks
        ],
        "nics": [{"devid": index, **nic, "nictype": "vif"} for index, nic in enumerate(domain.keys["nics"])],
        "on_reboot": domain.keys["on_reboot"],
        "on_soft_reset": "soft_reset",
    }
    return {"domid": domain.domid, "config": config}

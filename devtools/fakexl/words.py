"""libxl 4.20's error messages, captured from the real one including line numbers. Pure.

They come from tests/worker/captured/xl-cases-4.20.json.
"""

ABSENT = (
    "libxl: "
    "error: libxl_domain.c:354:libxl_domain_info: Domain {domid}:Getting domain info: No such process\n"
)
DESTROY_TAIL = (
    "libxl: error: libxl_domain.c:1179:libxl__destroy_domid: Domain {domid}:Non-existant domain\n"
    "libxl: error: libxl_domain.c:1133:domain_destroy_callback: Domain {domid}:Unable to destroy guest\n"
    "libxl: error: libxl_domain.c:1060:domain_destroy_cb: Domain {domid}:Destruction of domain failed\n"
)
NO_TYPE = (
    "libxl: error: libxl_dom.c:37:libxl__domain_type: Domain {domid}:unable to get dominfo: No such process\n"
)
NO_PAUSE = (
    "libxl: error: libxl_domain.c:583:libxl_domain_pause: Domain {domid}:Pausing domain: No such process\n"
)
DESTROY_DOM0 = (
    "Not destroying domain 0; use -f to force.\n"
    "This can only be done when using a disaggregated hardware domain and toolstack.\n\n"
)
PAUSE_DOM0 = "libxl: error: libxl_domain.c:583:libxl_domain_pause: Pausing domain: Invalid argument\n"
UNPAUSE_RUNNING = (
    "libxl: error: libxl_domain.c:684:domain_unpause_done: Domain {domid}:"
    "Unpausing domain: Invalid argument\n"
)

#: message and exit code of each command for a domid that does not exist
ABSENT_DOMID = {
    "list": (ABSENT + "Error: Domain '{domid}' does not exist.\n", 1),
    "destroy": (ABSENT + DESTROY_TAIL + "destroy failed (rc=-21)\n", 1),
    "shutdown": ("Shutting down domain {domid}\n" + NO_TYPE + "shutdown failed (rc=-3)\n", 1),
    "reboot": ("Rebooting domain {domid}\n" + NO_TYPE + "reboot failed (rc=-3)\n", 1),
    "pause": (NO_PAUSE, 0),
    "unpause": (NO_TYPE, 0),
}


def create_tail(domid: int) -> str:
    return (ABSENT + DESTROY_TAIL).format(domid=domid)


def name_taken(domid: int, name: str) -> str:
    return (
        f"libxl: error: libxl_domain.c:81:libxl__domain_rename: Domain {domid}:"
        f'Domain with name "{name}" already exists.\n'
        f"libxl: error: libxl_create.c:1351:initiate_domain_create: Domain {domid}:cannot make domain: -6\n"
        "libxl: error: libxl_xshelp.c:206:libxl__xs_read_mandatory: xenstore read failed: "
        f"`/libxl/{domid}/type': No such file or directory\n"
        "libxl: warning: libxl_dom.c:49:libxl__domain_type: unable to get domain type for "
        f"domid={domid}, assuming HVM\n"
    )


def disk_unusable(sentence: str) -> str:
    return f"libxl: error: libxl_device.c:468:libxl__device_disk_set_backend: {sentence}\n"


def disk_defaults(domid: int, index: int) -> str:
    return (
        f"libxl: error: libxl_create.c:1373:initiate_domain_create: Domain {domid}:"
        f"Unable to set disk defaults for disk {index}\n"
    )


def no_kernel(domid: int, path: str) -> str:
    return (
        f"xc: error: panic: xg_dom_core.c:205: failed to open file '{path}': "
        "No such file or directory: Internal error\n"
        "libxl: error: libxl_dom.c:937:libxl__domain_firmware: xc_dom_kernel_file failed: "
        "No such file or directory\n"
        "libxl: error: libxl_dom.c:1103:libxl__build_hvm: initializing domain firmware failed\n"
        + _not_built(domid, -1)
    )


def no_memory(domid: int) -> str:
    return (
        "xc: error: panic: xg_dom_boot.c:119: xc_dom_boot_mem_init: "
        "can't allocate low memory for domain: Out of memory\n"
        "libxl: error: libxl_dom.c:581:libxl__build_dom: xc_dom_boot_mem_init failed: "
        "Cannot allocate memory\n" + _not_built(domid, -3)
    )


def _not_built(domid: int, code: int) -> str:
    return (
        f"libxl: error: libxl_create.c:1695:domcreate_rebuild_done: Domain {domid}:"
        f"cannot (re-)build domain: {code}\n"
    )


def disk_taken(domid: int, target: str, taken_by: int) -> str:
    """Not captured: from tools/hotplug/Linux/block, in the format of libxl."""
    return (
        "libxl: error: libxl_exec.c:117:libxl_report_child_exitstatus: /etc/xen/scripts/block add [331] "
        "exited with error status 1\n"
        "libxl: error: libxl_device.c:1351:device_hotplug_child_death_cb: script: "
        f"File {target} is loopback-mounted through /dev/loop{taken_by},\n"
        "which is mounted in a guest domain,\nand so cannot be mounted now.\n"
        f"libxl: error: libxl_create.c:1982:domcreate_attach_devices: Domain {domid}:"
        "unable to add disk devices\n"
    )


def no_bridge(domid: int, bridge: str) -> str:
    return (
        "libxl: error: libxl_exec.c:117:libxl_report_child_exitstatus: /etc/xen/scripts/vif-bridge online "
        "[331] exited with error status 1\n"
        "libxl: error: libxl_device.c:1351:device_hotplug_child_death_cb: script: "
        f"Could not find bridge device {bridge}\n"
        f"libxl: error: libxl_create.c:1982:domcreate_attach_devices: Domain {domid}:"
        "unable to add vif devices\n"
    )

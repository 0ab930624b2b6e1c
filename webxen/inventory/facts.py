"""The order in which `xl info`'s lines are shown. Pure.

A JSON column of PostgreSQL does not keep the order of keys. The order is that of the Xen wiki's page.
"""

ORDER = (
    "host",
    "release",
    "version",
    "machine",
    "nr_cpus",
    "max_cpu_id",
    "nr_nodes",
    "cores_per_socket",
    "threads_per_core",
    "cpu_mhz",
    "hw_caps",
    "virt_caps",
    "arm_sve_vector_length",
    "total_memory",
    "free_memory",
    "sharing_freed_memory",
    "sharing_used_memory",
    "outstanding_claims",
    "free_cpus",
    "xen_major",
    "xen_minor",
    "xen_extra",
    "xen_version",
    "xen_caps",
    "xen_scheduler",
    "xen_pagesize",
    "platform_params",
    "xen_changeset",
    "xen_commandline",
    "cc_compiler",
    "cc_compile_by",
    "cc_compile_domain",
    "cc_compile_date",
    "build_id",
    "xend_config_format",
)
PLACES = {name: place for place, name in enumerate(ORDER)}


def in_order(facts: dict[str, str]) -> list[tuple[str, str]]:
    """Return known lines in the wiki's order, followed by unknown ones in their given order."""
    return sorted(facts.items(), key=lambda fact: PLACES.get(fact[0], len(ORDER)))

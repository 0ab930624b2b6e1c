"""Texts: what verify finds, and what it has mended."""

from webxen.core.messages.marks import gettext_noop as _
from webxen.core.messages.marks import ngettext
from worker.contract.wording import Text

TEXTS: dict[str, Text] = {
    "COMPARED": _(
        "Compared: %(hosts)s of %(all_hosts)s hosts, %(machines)s machines, %(domains)s domains, "
        "%(volumes)s volumes."
    ),
    "ALL_AGREE": _("%(compared)s No differences."),
    "DIFFERENCES_FOUND": ngettext(
        "%(compared)s %(n)s difference, %(fixable)s fixable with --fix.",
        "%(compared)s %(n)s differences, %(fixable)s fixable with --fix.",
    ),
    "ORDERS_HELD": _("No jobs are sent until an administrator has checked. %(why)s"),
    "ORDER_WITHOUT_MACHINE": _(
        "%(host)s was given a job for %(name)s on %(given_at)s, and the database has no such machine."
    ),
    "ORDER_NOT_KNOWN": _(
        "%(host)s was given a job for %(name)s on %(given_at)s, and the database has no record of it."
    ),
    "BACKUP_RESTORED": _("An administrator restored the database from a backup."),
    "MACHINE_MISSING_HERE": _(
        "%(name)s of %(owner)s in %(project)s was created by this portal on %(made_at)s and is "
        "missing from the database: on %(host)s it is %(state)s."
    ),
    "MACHINE_MISSING_NO_RECEIPT": _(
        "Machine %(id)s was created by a portal and is missing from the database: %(host)s has no "
        "receipt for it, and there it is %(state)s."
    ),
    "DELETED_BUT_UNRECORDED": _(
        "%(name)s was deleted on %(host)s by a job of this portal from %(ordered_at)s that the "
        "database has no record of."
    ),
    "HOST_NEVER_SEEN": _("%(host)s has never been in contact: its machines cannot be checked."),
    "HOST_LAST_SEEN": _("%(host)s was last in contact %(ago_seconds)s ago: its machines cannot be checked."),
    "DOMAINS_UNREADABLE": _("%(host)s cannot list its domains: the power of its machines cannot be checked."),
    "HOLDINGS_UNSEEN": _("%(host)s does not report its disks: missing and orphaned disks cannot be found."),
    "POOL_UNSEEN": _("The volumes of pool %(pool)s could not be listed: missing ones cannot be found."),
    "HOLDINGS_CUT": _("%(host)s has more than it can report: %(count)s volumes were seen."),
    "CLOCK_DROPS_ORDERS": _(
        "The clock of %(host)s is %(ahead_seconds)s ahead of the portal's: it rejects every job as expired."
    ),
    "CLOCK_AHEAD": _(
        "The clock of %(host)s is %(ahead_seconds)s ahead of the portal's; jobs are still accepted."
    ),
    "MACHINE_RUNS_TWICE": _("%(name)s is running on several hosts at the same time: %(hosts)s; %(home)s."),
    "HOME_IS": _("it belongs on %(host)s"),
    "HOME_IS_NOWHERE": _("it has no host"),
    "HOME_IS_UNKNOWN": _("the database has no such machine"),
    "DOMAIN_IS": _("domain %(domid)s (%(name)s, %(power)s, %(size_mib)s)"),
    "DOMAIN_NAMELESS": _("domain %(domid)s without a name (%(power)s, %(size_mib)s)"),
    "DOMAIN_UNKNOWN": _("Unknown %(domain)s with UUID %(uuid)s."),
    "DOMAIN_OF_DELETED": _("%(name)s is deleted, but %(domain)s still exists."),
    "MACHINE_ELSEWHERE": _("%(name)s has %(domain)s on %(host)s; %(home)s."),
    "MEMORY_WRONG": _("%(name)s runs with %(actual_mib)s of memory; the database says %(recorded_mib)s."),
    "VCPUS_WRONG": _("%(name)s runs with %(actual)s vCPUs; the database says %(recorded_count)s."),
    "POWER_WRONG": _("%(name)s is %(state)s; the database says %(recorded)s."),
    "VOLUME_IS": _("volume %(disk)s (%(size_mib)s, %(pool)s)"),
    "DRAFT_IS": _("draft volume %(disk)s (%(size_mib)s, %(pool)s)"),
    "VOLUME_ORPHAN": _("Orphaned %(volume)s of machine %(id)s: %(fate)s."),
    "VOLUME_NOT_RECORDED": _("There is %(volume)s of %(name)s, which has no such disk."),
    "VOLUME_ELSEWHERE": _("There is %(volume)s of %(name)s on %(host)s; %(home)s."),
    "VOLUME_SIZE": _("There is %(volume)s of %(name)s; the database says %(recorded_mib)s."),
    "MACHINE_FILES_ORPHAN": _("The host has files of machine %(id)s without a disk; %(fate)s."),
    "FATE_DELETED": _("%(name)s is deleted"),
    "FATE_UNKNOWN": _("the database has no machine with this id"),
    "MACHINE_WITHOUT_DISK": _("%(name)s is %(state)s, and the database has no disk of it."),
    "VOLUME_MISSING": _("Disk %(disk)s of %(name)s is not in pool %(pool)s of %(host)s."),
    "FENCE_BEHIND_REFUSES": _(
        "%(host)s has carried out job number %(there)s for %(name)s; the database knows only number "
        "%(here)s, so the host would refuse the next one."
    ),
    "FENCE_BEHIND_LOST": _(
        "%(host)s has carried out job number %(there)s for %(name)s; the database knows only number "
        "%(here)s: it has lost jobs."
    ),
    "JOB_OVERDUE": _("Job %(id)s (%(job)s, %(name)s) is past its deadline and has not ended."),
    "JOB_ONLY_ON_HOST": _("%(host)s is working on job %(id)s, which is not open here."),
    "MACHINE_FAILED_RUNS": _("%(name)s has failed but is %(state)s on %(host)s."),
    "SEED_KEPT": _("The SSH keys and the password hash %(name)s was created with are still stored."),
    "ROUND_FAILS": ngettext(
        "Step %(step_name)s fails for %(about)s (%(n)s time): %(error)s.",
        "Step %(step_name)s fails for %(about)s (%(n)s times): %(error)s.",
    ),
    "POOL_FILLING": _(
        "Pool %(pool)s of %(host)s: %(free_mib)s of %(total_mib)s free, %(reserved_mib)s of "
        "%(limit_mib)s reserved."
    ),
    "PORTAL_KEY_UNUSABLE": _("The signing key %(path)s cannot be used: no jobs can be sent."),
    "HOST_MEMORY_DRIFT": _(
        "%(reserved_mib)s of memory are reserved on %(host)s; its machines need %(held_mib)s."
    ),
    "ADDRESS_NOT_HELD": _("%(name)s uses %(address)s, which is not recorded as assigned."),
    "ADDRESS_TWICE": _("%(names)s use the same address: %(address)s on %(bridge)s."),
    "ADDRESS_OF_DELETED": _("%(address)s of %(network)s is still assigned: %(fate)s."),
    "IMAGE_DIFFERS": _(
        "%(image)s on %(host)s is not the registered file: SHA-256 %(seen)s…, expected %(wanted)s…."
    ),
    "IMAGE_VARIES": _("%(image)s differs between hosts: %(copies)s."),
    "MENDED_SEED": _("They were deleted."),
    "MENDED_POWER": _("%(name)s is now recorded as %(state)s."),
    "MENDED_FENCE": _("The job number of %(name)s is now %(number)s."),
    "MENDED_MEMORY": _("%(held_mib)s of memory are now reserved on %(host)s."),
    "MENDED_ADDRESS": _("The address is free again."),
    "MENDED_LEDGER": ngettext(
        "The quota ledger was corrected: %(n)s difference.",
        "The quota ledger was corrected: %(n)s differences.",
    ),
}

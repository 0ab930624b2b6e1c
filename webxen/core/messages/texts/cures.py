"""Texts: how each finding is mended."""

from webxen.core.messages.marks import gettext_noop as _
from worker.contract.wording import Text

TEXTS: dict[str, Text] = {
    "CURE_DATABASE_OLDER": _(
        "Check the differences below, readopt missing machines (manage.py readopt --all) and fix the "
        "rest (manage.py verify --fix). Then confirm the check, here or with manage.py end_restore."
    ),
    "CURE_MACHINE_MISSING_HERE": _(
        "It is somebody's machine: do not touch its domain or its disks. manage.py readopt restores "
        "it in the database from the signed receipt on the host."
    ),
    "CURE_MACHINE_DELETED_SINCE": _(
        "Delete it here as well: this frees its quota and its address. Nothing is left on the host."
    ),
    "CURE_MACHINE_RUNS_TWICE": _(
        "Stop it at once on the host where it does not belong, then check the disk's file system."
    ),
    "CURE_MACHINE_ELSEWHERE": _(
        "Find out who moved it. Stop it there, or correct its host; never start it here."
    ),
    "CURE_DOMAIN_OF_DELETED": _(
        "Find out why it is running, and ask its owner before you shut it down manually."
    ),
    "CURE_DOMAIN_UNKNOWN": _("Someone started it manually: leave it, move it away, or stop it manually."),
    "CURE_VOLUME_MISSING": _(
        "Do not start the machine. Look for the volume on the other hosts and in backups."
    ),
    "CURE_VOLUME_ELSEWHERE": _("Find out who moved it; the machine cannot start from there."),
    "CURE_VOLUME_ORPHAN": _(
        "Find out whose it is, also in backups of the database. It may be the only copy of "
        "somebody's machine: copy it before you delete anything."
    ),
    "CURE_VOLUME_SIZE": _("Find out who changed it; the quota counts what the database says."),
    "CURE_MACHINE_FILES_ORPHAN": _(
        "Find out whose they are, also in backups of the database. Left in place they do no harm."
    ),
    "CURE_MACHINE_WITHOUT_DISK": _("Its database records are damaged: restore them from a backup."),
    "CURE_POWER_WRONG": _("--fix records the power state the host has just reported."),
    "CURE_SHAPE_WRONG": _("Power the machine off and start it: it then gets what the database says."),
    "CURE_FENCE_BEHIND": _(
        "The host's files are newer than the database, as after restoring a backup: check what was "
        "done since. --fix advances the job number, so that the host accepts jobs again."
    ),
    "CURE_JOB_OVERDUE": _(
        "Make sure beat and the reports process are running: the portal ends such jobs by itself."
    ),
    "CURE_JOB_ONLY_ON_HOST": _(
        "The host is working on a job that is not open here. Wait; check the host's log if it does not end."
    ),
    "CURE_RESERVATION_LOST": _("--fix corrects the quota ledger to what the machines hold."),
    "CURE_QUOTA_DRIFT": _(
        "Find out how it came about. --fix corrects the quota ledger to what the machines hold."
    ),
    "CURE_HOST_MEMORY_DRIFT": _("--fix sets the reserved memory to the sum of its machines."),
    "CURE_ADDRESS_TWICE": _("Two machines answer to one address: delete or recreate one of them."),
    "CURE_ADDRESS_NOT_HELD": _("Another machine may be assigned the same address: add the missing record."),
    "CURE_ADDRESS_OF_DELETED": _("--fix releases the address."),
    "CURE_CLOCK_AHEAD": _(
        "Set the host's clock (chrony), or the portal's if every host is ahead: a job is void when a "
        "clock is further ahead than WEBXEN_ORDER_TTL_SECONDS."
    ),
    "CURE_IMAGE_DIFFERS": _("Copy the registered file to the host, or register the new one."),
    "CURE_HOST_SILENT": _("Start the WebXen services on the host and check its network, then compare again."),
    "CURE_DOMAINS_UNREADABLE": _("Check the host: `xl list` does not answer there."),
    "CURE_MACHINE_FAILED_RUNS": _(
        "Its owner can shut it down or power it off: after that it can be used normally."
    ),
    "CURE_SEED_KEPT": _("--fix deletes them: they are not needed once a machine has been created."),
    "CURE_ROUND_FAILS": _(
        "The step is retried in every round; other steps continue. Search the reports log for this id."
    ),
    "CURE_POOL_FILLING": _("Free space in the pool or enlarge it; machines without room wait for it."),
    "CURE_PORTAL_KEY_UNUSABLE": _(
        "`manage.py portal_key` creates a missing key; the portal's account must be able to read it."
    ),
    "CURE_HOLDINGS_UNSEEN": _("Upgrade the worker on the host: this version does not report its disks."),
    "CURE_POOL_UNSEEN": _("Check the pool on the host: its volumes could not be listed."),
    "CURE_HOLDINGS_CUT": _("The host has more than it can report in one message: check it manually."),
}

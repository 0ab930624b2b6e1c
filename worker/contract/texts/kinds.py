"""Texts: every kind of failure on a host, where nothing finer is known."""

from worker.contract.wording import Text
from worker.contract.wording import mark as _

TEXTS: dict[str, Text] = {
    "NOT_CANCELLABLE": _("The job has ended, or it can no longer be stopped. Wait until it ends."),
    "NO_ANSWER": _(
        "The host accepted the job and never reported how it ended. An administrator must check the host."
    ),
    "ORDER_REFUSED": _("The host rejects a value of this job. Change the request."),
    "FENCED": _("The host has already accepted a newer job for this machine; that one counts."),
    "JOURNAL_UNWRITABLE": _(
        "The host cannot record what it is about to do, so it does nothing. An administrator must "
        "free disk space there."
    ),
    "FENCE_UNREADABLE": _(
        "The host's record of its last job for this machine is damaged. Nothing was done; an "
        "administrator must repair it."
    ),
    "WORKER_TOO_OLD": _(
        "The WebXen worker on the host is too old for this job. An administrator must upgrade it."
    ),
    "CANCELLED": _("The job was cancelled; what it had created is removed."),
    "TOO_MANY_ATTEMPTS": _(
        "The job was started several times, and the host's worker was stopped each time. An "
        "administrator must find out why."
    ),
    "IMAGE_MISSING": _("The image file is not on the host. An administrator must copy it there."),
    "IMAGE_DIGEST": _(
        "The image file on the host is not the registered one. An administrator must copy it again."
    ),
    "IMAGE_UNUSABLE": _("No disk can be created from this image. Choose another one."),
    "KERNEL_MISSING": _(
        "The kernel this image boots is not on the host. An administrator must copy it there."
    ),
    "POOL_UNKNOWN": _("The host has no storage pool with this name. Choose another one."),
    "DISK_FULL": _(
        "There is not enough space for the disk; what was begun is removed. Try again, or choose "
        "another host."
    ),
    "COPY_DIFFERS": _(
        "The data written on the target differs from what the source read; the copy was discarded. Try again."
    ),
    "DISK_TOO_SMALL": _("The image does not fit on a disk of this size. Request a larger disk."),
    "DISK_TAKEN": _(
        "A disk with this name already exists and was not created by this job. It was not changed; "
        "an administrator must check it."
    ),
    "DISK_FAILED": _("The disk could not be created or enlarged. Try again."),
    "LEASE_HELD": _("The disks are in use by another host. Nothing was started or deleted."),
    "LEASE_UNREADABLE": _(
        "It cannot be determined which host uses the disks, so nothing was started or deleted. Try again."
    ),
    "POOL_MISCONFIGURED": _(
        "A shared storage pool is not configured correctly. An administrator must fix it."
    ),
    "POOL_BUSY": _("Another host is changing the shared storage pool. Try again."),
    "SEED_FAILED": _(
        "The SSH keys, password or network settings could not be written to the new disk. An "
        "administrator must repair the image."
    ),
    "CONFIG_REFUSED": _(
        "The machine's configuration cannot be written safely. Change the value that is named."
    ),
    "NAME_TAKEN": _("A domain with this name already exists on the host."),
    "NO_MEMORY": _("The host does not have enough free memory. Try again later, or choose another host."),
    "XL_FAILED": _("The xl command failed on the host."),
    "XL_UNREADABLE": _("The host could not read its list of domains, so nothing was started or deleted."),
    "GUEST_DIED": _("The machine ended while it was starting. See the last console lines."),
    "NO_LOGIN_PROMPT": _("No login prompt appeared in time. See the last console lines."),
    "DEADLINE": _("The job did not finish in time. Try again."),
    "GUEST_IGNORED_SHUTDOWN": _("The machine did not shut down when asked. Use power off."),
    "GUEST_IGNORED_REBOOT": _("The machine did not reboot when asked. Power it off, then start it."),
    "MACHINE_MISSING": _("The machine's disk is not on this host. An administrator must find it."),
    "MACHINE_OFF": _("The machine is off, but must be running for this. Start it."),
    "MOVE_REFUSED": _("The machine cannot be moved this way, or not to this host; nothing was started."),
    "RELAY_AWAY": _(
        "The two hosts cannot reach each other; nothing was started. An administrator must check "
        "webxen-relay."
    ),
    "MOVE_FAILED": _("The move failed; the machine is where it was. Try again."),
    "MOVE_UNKNOWN": _(
        "The move was interrupted where one host alone cannot tell which of the two has the machine. "
        "Nothing is changed until both have reported."
    ),
    "OUTCOME_CONTRADICTED": _(
        "The host sees something else than the portal concluded. Nothing was changed; an "
        "administrator must compare both hosts."
    ),
    "DOMAIN_NOT_DESTROYED": _(
        "A domain is still listed after it was destroyed. An administrator must check the host."
    ),
    "TOO_LATE": _("It is too late to cancel."),
}

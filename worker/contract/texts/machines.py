"""Texts: jobs and domains on a host."""

from worker.contract.wording import Text
from worker.contract.wording import mark as _

TEXTS: dict[str, Text] = {
    "CONFIG_READ_DIFFERENTLY": _(
        "Xen's parser reads the configuration differently (%(difference)s). Contact an administrator."
    ),
    "KERNEL_NOT_HERE": _(
        "The kernel %(name)s of this image is not on the host. Ask an administrator to copy it "
        "there, or choose another image."
    ),
    "CONFIG_NOT_ACCEPTED": _(
        "Xen's parser does not accept the configuration (%(error)s). Contact an administrator."
    ),
    "CONFIG_NOT_WRITTEN": _("The machine was not created: %(error)s. Contact an administrator."),
    "FIELD_REFUSED": _(
        "The host rejects this job: its %(field)s is not acceptable. Contact an administrator."
    ),
    "JOB_CANCELLED": _("The job was cancelled."),
    "OUT_OF_TIME": _("The job ran out of time at step %(step)s. Try again when the host is less busy."),
    "XEN_NOT_RESPONDING": _("Xen on the host is not responding. Try again, or contact an administrator."),
    "XEN_START_FAILED": _("Xen could not start the machine. Contact an administrator."),
    "XEN_STILL_LISTS": _(
        "The machine was stopped, but Xen still lists it. Try again; if it stays, contact an administrator."
    ),
    "DOMAIN_NAME_TAKEN": _(
        "The host already runs a domain named %(name)s. Ask an administrator to remove it."
    ),
    "HOST_LACKS_MEMORY": _(
        "The host does not have %(needed_mib)s of free memory. Try again later, or choose another host."
    ),
    "DOMAINS_NOT_LISTED": _(
        "The host's list of domains cannot be read, so nothing was started or deleted. Try again, or "
        "contact an administrator."
    ),
    "XEN_START_TIMED_OUT": _(
        "Xen did not start the machine in time. Try again, or contact an administrator."
    ),
    "XEN_STOP_FAILED": _("Xen could not stop the machine. Contact an administrator."),
    "FENCE_FILE_DAMAGED": _(
        "The host's record of its last job for this machine is damaged: %(path)s. Nothing was done. "
        "An administrator must compare the machine with `verify`, move that file away, and try again."
    ),
    "FENCE_FILE_DAMAGED_LATER": _(
        "The host's record of its last job for this machine is damaged: %(path)s. The job went no "
        "further. An administrator must compare the machine with `verify`, move that file away, and "
        "try again."
    ),
    "WORKER_FILE_FAILED": _(
        "The worker could not use one of its own files (%(error)s). Contact an administrator."
    ),
    "NEWER_ORDER_ACCEPTED": _("A newer job for this machine was already accepted; this one came too late."),
    "JOURNAL_IO_FAILED": _(
        "The host cannot write its journal (%(error)s), so it does nothing. Ask an administrator to "
        "free space on its disk."
    ),
    "STOPPED_TOO_OFTEN": _(
        "The worker was stopped %(attempts)s times during this job and gave up. Contact an administrator."
    ),
    "INTERNAL_ERROR": _("Internal error, reference %(reference)s. Give this reference to an administrator."),
    "ORDER_NOT_UNDERSTOOD": _(
        "The worker on the host is too old for this job (%(error)s). Nothing was done; ask an "
        "administrator to upgrade it."
    ),
    "DID_NOT_REBOOT": _(
        "The machine did not reboot in time. Reboot it from inside, or power it off and start it."
    ),
    "ENDED_WHILE_BOOTING": _(
        "The machine ended while it was booting; see the last console lines. Start it again and "
        "watch its console."
    ),
    "ENDED_WHILE_CREATED": _(
        "The machine ended while it was booting; see the last console lines. Choose another image, "
        "or contact an administrator."
    ),
    "PAUSED_CANNOT_SHUT_DOWN": _(
        "The machine is paused and cannot react to a shutdown. Resume it or power it off."
    ),
    "DID_NOT_COME_BACK": _("The machine ended and did not come back. Start it."),
    "XEN_COULD_NOT_ASK": _(
        "Xen could not send the request to the machine: %(job)s. Try again, or power it off."
    ),
    "DID_NOT_SHUT_DOWN": _(
        "The machine did not shut down in time. Shut it down from inside, or power it off."
    ),
    "NOT_RUNNING_TO_REBOOT": _("The machine is not running, so it cannot be rebooted. Start it."),
    "NO_PROMPT_WITHIN": _(
        "No login prompt within %(limit_seconds)s. See the last console lines. Try again, or choose "
        "another image."
    ),
    "CANCEL_HEARD": _(
        "The host has received the cancellation. What cannot be interrupted is finished first and "
        "then undone."
    ),
    "CANCEL_FINISHES": _("The job has started and is finished: stopping half-way would be worse."),
    "CANCEL_SWITCHED_OVER": _("The switch-over to the other host has begun and cannot be cancelled."),
}

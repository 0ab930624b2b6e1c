"""Texts for stored codes: errors of jobs, job events, audit actions. Pure tables.

There is a text for every code that a host may send; tests/conventions compares with docs/errors.md.
"""

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

#: why a job failed, by error code: the texts of docs/errors.md in the user's language
ERRORS: dict[str, str | Promise] = {
    "NOT_CANCELLABLE": _("The job has ended, or it can no longer be stopped. Wait for its end."),
    "NO_ANSWER": _("The host took the job and never said how it ended. Staff looks at the host."),
    "ORDER_REFUSED": _("The host does not accept a value of this order. Change the request."),
    "FENCED": _("The host has already accepted a newer order for this machine: that one counts."),
    "JOURNAL_UNWRITABLE": _(
        "The host cannot write down what it is about to do, so it does nothing. Staff frees space there."
    ),
    "FENCE_UNREADABLE": _(
        "The host's record of its last order for this machine is damaged. Nothing was done; staff repairs it."
    ),
    "WORKER_TOO_OLD": _("The worker on the host is too old for this order. Staff upgrades it."),
    "CANCELLED": _("Somebody took the job back; what it had made is undone."),
    "TOO_MANY_ATTEMPTS": _(
        "The job was begun several times, and the host's worker was stopped each time. Staff finds out why."
    ),
    "IMAGE_MISSING": _("The image's file is not on the host. Staff puts it there."),
    "IMAGE_DIGEST": _(
        "The image's file on the host is not the one that was registered. Staff fetches it again."
    ),
    "IMAGE_UNUSABLE": _("No disk can be made of this image. Choose another one."),
    "KERNEL_MISSING": _("The kernel the image boots is not on the host. Staff puts it there."),
    "POOL_UNKNOWN": _("The host has no storage pool of that name. Choose another one."),
    "DISK_FULL": _(
        "There is no space for the disk; what was begun is removed. Try again, or on another host."
    ),
    "COPY_DIFFERS": _(
        "What was written to a disk on the target is not what the source has read; the copy was "
        "thrown away. Try again."
    ),
    "DISK_TOO_SMALL": _("The image does not fit on a disk of that size. Ask for a larger disk."),
    "DISK_TAKEN": _(
        "A disk of that name is there already, and this job did not make it. It is not touched; staff "
        "looks at it."
    ),
    "DISK_FAILED": _("The disk could not be made or grown. Try again."),
    "LEASE_HELD": _("The disks are another host's just now. Nothing was started or removed."),
    "LEASE_UNREADABLE": _(
        "Whose the disks are cannot be read, so nothing was started or removed. Try again."
    ),
    "POOL_MISCONFIGURED": _("A shared storage pool is not set up as it must be. Staff sets it right."),
    "POOL_BUSY": _("Another host is changing the shared volume group. Try again."),
    "SEED_FAILED": _(
        "Keys, password or network could not be written into the fresh disk. Staff repairs the image."
    ),
    "CONFIG_REFUSED": _("The machine's config cannot be written safely. Change the value that is named."),
    "NO_MEMORY": _("The host has not enough free memory. Try again later, or on another host."),
    "XL_FAILED": _("xl refused on the host; its last words are below."),
    "XL_UNREADABLE": _("The host could not read its list of domains, so nothing was started or deleted."),
    "GUEST_DIED": _("The machine ended while it was starting. The last console lines say why."),
    "NO_LOGIN_PROMPT": _("There was no login prompt in time. The last console lines say where it stopped."),
    "DEADLINE": _("The job's time was up. Try again."),
    "GUEST_IGNORED_SHUTDOWN": _("The guest did not shut down when asked. Use power off."),
    "GUEST_IGNORED_REBOOT": _("The guest did not reboot when asked. Power off, then start."),
    "MACHINE_MISSING": _("The machine's disk is not on this host. Staff finds out where it went."),
    "MACHINE_OFF": _("The machine is off, and this needs it running. Start it."),
    "MOVE_REFUSED": _("The machine cannot move like this, or not to this host; nothing was begun."),
    "RELAY_AWAY": _(
        "The two hosts cannot reach one another; nothing was begun. Staff looks at webxen-relay."
    ),
    "MOVE_FAILED": _("The move came to nothing; the machine is where it was. Try again."),
    "MOVE_UNKNOWN": _(
        "The move broke off where one host alone cannot say which of the two has the machine. Nothing "
        "is touched until both were seen."
    ),
    "OUTCOME_CONTRADICTED": _(
        "The host sees something else than the portal concluded. Nothing is touched; staff compares "
        "both hosts."
    ),
    "DOMAIN_NOT_DESTROYED": _("A domain is still listed after it was destroyed. Staff looks at the host."),
    "NAME_TAKEN": _("A domain of this name is on the host already. Choose another name."),
    "INTERNAL_ERROR": _("Something broke in the host's worker; its log says what."),
    # stored by earlier versions
    "INTERNAL": _("Something broke in the host's worker; its log says what."),
}

#: events of a job, by JobEvent.event
EVENTS: dict[str, str | Promise] = {
    "PENDING": pgettext_lazy("event", "Waiting for capacity"),
    "QUEUED": pgettext_lazy("event", "Queued"),
    "SENT": pgettext_lazy("event", "Sent to the host"),
    "STARTED": pgettext_lazy("event", "Begun"),
    "STEP": pgettext_lazy("event", "Step"),
    "SUCCEEDED": pgettext_lazy("event", "Done"),
    "FAILED": pgettext_lazy("event", "Failed"),
    "ERROR": pgettext_lazy("event", "Internal error"),
    "CANCELLED": pgettext_lazy("event", "Cancelled"),
    "CANCEL_ASKED": pgettext_lazy("event", "Cancel asked for"),
    "CANCEL_HEARD": pgettext_lazy("event", "The host heard the cancel"),
    "LETS_GO": pgettext_lazy("event", "Deleting old disks"),
    "LOOK_AGAIN": pgettext_lazy("event", "Hosts are asked again"),
    "NOT_KNOWN": pgettext_lazy("event", "Not known where it is"),
    "PLANNED": pgettext_lazy("event", "Planned"),
    "RESTARTED": pgettext_lazy("event", "Restarted elsewhere"),
    "MOVED": pgettext_lazy("event", "Judged: it has moved"),
    "STAYED": pgettext_lazy("event", "Judged: it has stayed"),
    "SOURCE_STARTED": pgettext_lazy("event", "The source begins"),
    "SOURCE_STEP": pgettext_lazy("event", "The source goes on"),
    "SOURCE_SUCCEEDED": pgettext_lazy("event", "The source is done"),
    "SOURCE_FAILED": pgettext_lazy("event", "The source has failed"),
    "SOURCE_ERROR": pgettext_lazy("event", "Internal error on the source"),
    "SOURCE_CANCELLED": pgettext_lazy("event", "The source has stopped"),
    "TARGET_STARTED": pgettext_lazy("event", "The target begins"),
    "TARGET_STEP": pgettext_lazy("event", "The target goes on"),
    "TARGET_SUCCEEDED": pgettext_lazy("event", "The target is done"),
    "TARGET_FAILED": pgettext_lazy("event", "The target has failed"),
    "TARGET_ERROR": pgettext_lazy("event", "Internal error on the target"),
    "TARGET_CANCELLED": pgettext_lazy("event", "The target has stopped"),
    "CLEANED_SUCCEEDED": pgettext_lazy("event", "Tidied up"),
    "CLEANED_FAILED": pgettext_lazy("event", "Could not tidy up"),
    "CLEANED_ERROR": pgettext_lazy("event", "Internal error while cleaning up"),
}

#: audit actions that are not about jobs; `action_word` derives those of jobs
AUDIT: dict[str, str | Promise] = {
    "ACCEPT_HOST": _("Host accepted"),
    "REJECT_HOST": _("Host rejected"),
    "JOIN_HOST": _("Host joins"),
    "DRAIN_HOST": _("Host is drained"),
    "ACTIVATE_HOST": _("Host takes machines again"),
    "REMOVE_HOST": _("Host taken out"),
    "LEAVE_DOMAIN_ALONE": _("Domain known and left alone"),
    "WATCH_DOMAIN_AGAIN": _("Domain watched again"),
    "ROTATE_HOST_KEY": _("Host's key changed"),
    "ROTATE_HOST_PASSWORD": _("Host's broker password changed"),
    "HOST_SAID_OFF": _("Host said to be off"),
    "FENCING_ASKED": _("Host's fence asked for"),
    "HOST_FENCED": _("Host switched off by its fence"),
    "HOST_NOT_FENCED": _("Host not switched off by its fence"),
    "RESTARTED_ELSEWHERE": _("Machines started elsewhere"),
    "MAKE_JOIN_TOKEN": _("Token for joining made"),
    "BURNIN_HOST": _("Host tried out"),
    "DRAIN_BEGUN": _("Draining begun"),
    "BRING_BACK_BEGUN": _("Bringing back begun"),
    "BALANCE_BEGUN": _("Balancing begun"),
    "RESTORE_FOUND": _("Database found to be older than the hosts"),
    "RESTORE_LOOKED_AT": _("Orders given again after a restore"),
    "READOPT_MACHINE": _("Machine taken back after a restore"),
    "CREATE_PROJECT": _("Project made"),
    "SIGN_IN": _("Signed in"),
    "SIGN_IN_FAILED": _("Sign-in failed"),
    "SIGN_IN_REFUSED": _("Sign-in refused after too many tries"),
    "SIGN_OUT": _("Signed out"),
    "END_SESSIONS": _("All sessions ended"),
    "CHANGE_PASSWORD": _("Password changed"),
    "WRONG_PASSWORD": _("Wrong current password"),
    "ENABLE_2FA": _("Second factor added"),
    "DISABLE_2FA": _("Second factor removed"),
    "NEW_RECOVERY_CODES": _("Recovery codes made"),
    "USE_TOKEN": _("API token used from a new address"),
    "CREATE_TOKEN": _("API token made"),
    "REVOKE_TOKEN": _("API token revoked"),
    "LOOK_AGAIN": pgettext_lazy("event", "Hosts are asked again"),
    "DISKS_LET_GO": _("Copied disks let go"),
    "EDIT_MACHINE": _("Machine edited"),
    "OPEN_CONSOLE": _("Console opened"),
    "SET_QUOTA": _("Quota set"),
    "RAISE_QUOTA": _("Quota raised"),
    "SETTLE_QUOTA": _("Ledger settled"),
    "REQUEST_MACHINE": _("Machine asked for"),
    "REQUEST_QUOTA": _("Quota asked for"),
    "CHANGE_QUOTA_REQUEST": _("Quota request changed"),
    "APPROVED_REQUEST": _("Request approved"),
    "REJECTED_REQUEST": _("Request rejected"),
    "WITHDRAWN_REQUEST": _("Request withdrawn"),
    "APPROVED_QUOTA_REQUEST": _("Quota request approved"),
    "REJECTED_QUOTA_REQUEST": _("Quota request rejected"),
    "WITHDRAWN_QUOTA_REQUEST": _("Quota request withdrawn"),
}

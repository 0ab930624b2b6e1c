"""Texts: a host moving a machine."""

from worker.contract.wording import Text
from worker.contract.wording import mark as _

TEXTS: dict[str, Text] = {
    "COPY_NOT_EQUAL": _(
        "The data written on the target and read back differs from what the source read, so the copy "
        "was discarded. Try again; if it happens again, a disk, memory or network is failing."
    ),
    "STARTED_WHILE_COPIED": _("Someone started the machine while its disks were being copied."),
    "DISKS_NOT_RECEIVED": _("The disks were not transferred correctly: %(error)s. Try again."),
    "WENT_OFF": _(
        "The machine has been switched off in the meantime. Request the move again: it is then moved "
        "without being started."
    ),
    "WENT_OFF_WHILE_COPIED": _(
        "The machine was switched off while its disks were being copied. Request the move again: it "
        "is then moved without being started."
    ),
    "MAY_NOT_SHUT_DOWN": _("The machine is running and shutting it down for this was not allowed."),
    "CANNOT_SHUT_DOWN": _("The machine is %(state)s, so it cannot be shut down."),
    "MACHINE_HERE_ALREADY": _("The target host already has this machine. Ask an administrator to check it."),
    "MOVED_THEN_ENDED": _(
        "The machine was moved, but ended while it was booting; see the last console lines. Its old "
        "disks are still on the source host."
    ),
    "OLD_DISK_THERE": _(
        "The pool %(pool)s already has a disk of this machine, left from an earlier move or an "
        "incomplete copy. Delete it first; nothing was overwritten."
    ),
    "NOT_MOVED_NOT_RESTARTED": _(
        "The machine was not moved and could not be started again on the source host: %(error)s"
    ),
    "DISKS_OF_ANOTHER_HOST": _(
        "The machine's disks in the pool %(pool)s are in use by another host: %(holder)s. Nothing "
        "was changed."
    ),
    "NOT_MOVED_RUNS_ON": _("The machine was not moved and keeps running on the source host: %(why)s."),
    "NOT_MOVED_IS_OFF": _("The machine was not moved and is off on the source host: %(why)s."),
    "NOT_RUNNING_TO_MOVE": _("The machine is not running, so it cannot be moved while running. Start it."),
    "SEED_IS_LOCAL": _(
        "The machine was created with a seed image on this host's own disk. Move it switched off."
    ),
    "DISKS_ARE_CACHED": _(
        "The machine's disks are files that each host caches in its own memory. Move it switched off."
    ),
    "PV_CANNOT_MOVE_LIVE": _(
        "This is a PV machine, and Xen on this host cannot track its memory while it runs (no "
        "log-dirty mode). Move it suspended."
    ),
    "BROKE_OFF_AFTER_GO": _(
        "The move was interrupted after the switch-over. Nothing is changed until both hosts have reported."
    ),
    "MOVE_CANCELLED": _("The move was cancelled; the machine is where it was."),
    "TARGET_COULD_NOT_START": _("The other host could not start the machine, and it keeps running here."),
    "COULD_NOT_START_HERE": _("This host could not start the machine; the source host takes it back."),
    "NOT_TAKEN_IN": _("The machine was not received: %(why)s."),
    "DOMAIN_STATE_UNCLEAR": _("The machine's domain is in an unexpected state. Check the host."),
    "COULD_NOT_RESUME": _("The machine could not be resumed. Check the host."),
    "OTHER_HOST_NOT_REACHED": _(
        "The other host could not be reached, so nothing was moved: %(error)s. Try again."
    ),
    "MOVE_END_UNWRITABLE": _("The host cannot record that the move is over. Free space on its disk."),
    "DOMAIN_HERE_ALREADY": _(
        "The host already has a domain of this machine or with its name (%(domain)s). Ask an "
        "administrator to check it."
    ),
    "DISKS_NOT_VISIBLE": _("Not all disks of the machine are visible on this host."),
    "BRIDGE_NOT_HERE": _("The host has no bridge %(bridge)s."),
    "MEMORY_NOT_FREE": _(
        "The host has %(free_mib)s of free memory and the machine needs %(needed_mib)s. Choose another host."
    ),
    "RUNS_WITHOUT_GO": _(
        "A domain of this machine is running here without a switch-over. Nothing was changed."
    ),
    "KERNEL_NOT_HERE_LATER": _(
        "The kernel %(name)s is not on this host, so the machine could not be started here later."
    ),
    "HOST_SEES_OTHERWISE": _("The host sees something else: %(what)s. Nothing was changed; check again."),
    "MOVED_NOT_STARTED": _("Xen could not start the machine that was moved here. Check the host."),
}

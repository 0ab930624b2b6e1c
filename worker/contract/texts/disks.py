"""Texts: images, disks, pools and leases on a host."""

from worker.contract.wording import Text
from worker.contract.wording import mark as _

TEXTS: dict[str, Text] = {
    "DISK_IO_FAILED": _("A disk could not be read or written (%(error)s). Try again."),
    "HOST_DISK_FULL": _("The host's disk is full. Nothing was kept; ask an administrator to free space."),
    "DISK_NOT_HERE": _(
        "The machine's disk is not on this host; nothing was changed. Contact an administrator."
    ),
    "POOL_TOO_SMALL_HERE": _(
        "The pool %(pool)s has %(free_mib)s free and the machine needs %(needed_mib)s. Choose another host."
    ),
    "IMAGE_NOT_HERE": _(
        "The image %(image)s is not on the host. Ask an administrator to copy it there, or choose "
        "another image."
    ),
    "IMAGE_NOT_REGISTERED_ONE": _(
        "The image %(image)s on the host is not the registered one (SHA-256 %(found)s…, expected "
        "%(expected)s…). Ask an administrator to copy it again."
    ),
    "FILE_SYSTEM_NOT_GROWN": _(
        "The disk's file system could not be enlarged (%(error)s). Contact an administrator."
    ),
    "IMAGE_FILE_SYSTEM_BROKEN": _(
        "The image's file system is damaged (%(error)s). Ask an administrator to copy it again."
    ),
    "PROGRAM_TOO_SLOW": _("%(program)s took too long. Try again when the host is less busy."),
    "PROGRAM_MISSING": _("The host has no %(program)s. Ask an administrator to install it."),
    "DISKS_HELD_ELSEWHERE": _(
        "This host may not open the disks of %(machine)s in the pool %(pool)s: %(holder)s. Nothing "
        "was started. If that host is off for good, an administrator must confirm it and start the "
        "machine on another host."
    ),
    "LEASE_IO_FAILED": _(
        "The lease of the machine's disks cannot be read or written (%(error)s), so nothing was "
        "started. Try again; if it stays, contact an administrator."
    ),
    "LEASE_HOLDER_UNKNOWN": _(
        "It cannot be determined which host uses the machine's disks, so nothing was started or "
        "deleted. Try again; if it stays, contact an administrator."
    ),
    "PARTITIONED_NEEDS_SEED": _(
        "A partitioned image takes its name and keys from a seed disk (NOCLOUD), not as files. Ask "
        "an administrator to correct the image."
    ),
    "DISK_HERE_ALREADY": _(
        "The host already has a disk of this machine. Delete the machine, then create a new one."
    ),
    "SEED_NOT_WRITTEN": _(
        "The machine's name and keys could not be written to its disk (%(error)s). Contact an administrator."
    ),
    "NO_FILE_SYSTEM": _("The image contains no readable file system (%(error)s). Choose another image."),
    "NO_ETC": _("The image has no /etc, so the name and keys cannot be set. Choose another image."),
    "IMAGE_FILE_TOO_LARGE": _(
        "%(file)s in the image is %(size_kib)s KiB; at most %(limit_kib)s KiB are read. Choose another image."
    ),
    "SEED_TOO_SLOW": _("Writing the machine's name took too long. Try again later."),
    "POOL_NOT_HERE": _("The host has no storage pool %(pool)s. Choose another host or pool."),
    "NOT_A_LEASE_AREA": _(
        "%(path)s does not contain the leases of this pool. Ask an administrator to set the pool up "
        "with `webxen-worker share-pool`."
    ),
    "LEASES_FULL": _("The pool %(pool)s has no room for more leases. Choose another pool or host."),
    "POOL_ID_MISSING": _("%(path)s contains no pool id. Contact an administrator."),
    "DISK_NOT_WRITTEN": _(
        "The host could not write the disk (%(error)s). Try again, or contact an administrator."
    ),
    "DISK_SMALLER_THAN_IMAGE": _(
        "The disk has %(size_mib)s and the image needs %(needed_mib)s. Request a larger disk."
    ),
    "LVM_UNREADABLE": _(
        "The output of %(program)s for volume group %(group)s cannot be read (%(error)s). Nothing "
        "was changed. Contact an administrator."
    ),
    "LVM_FAILED": _("%(program)s failed in volume group %(group)s: %(error)s. Contact an administrator."),
    "VOLUME_GROUP_FULL": _(
        "The volume group %(group)s is full. Try again later, or choose another host or pool."
    ),
    "VOLUME_GROUP_NOT_RESPONDING": _(
        "The volume group %(group)s is not responding. Contact an administrator."
    ),
    "LEASES_GONE": _(
        "The leases of volume group %(group)s are missing, so it is not known which host uses its "
        "disks. Contact an administrator."
    ),
    "NFS_CACHES_NAMES": _(
        "%(path)s is an NFS mount that may show outdated names, so leases there cannot be trusted. "
        "Ask an administrator to mount it with lookupcache=none."
    ),
    "SHARED_POOL_NOT_MOUNTED": _(
        "The pool %(pool)s is not available: %(path)s is not mounted, or was never set up with "
        "`webxen-worker share-pool`. Contact an administrator."
    ),
    "POOL_BEING_CHANGED": _(
        "%(host)s has been changing the pool %(pool)s since %(since)s (%(doing)s). Try again in a "
        "few minutes; if that host is off, an administrator runs `webxen-worker release-lock "
        "%(pool)s %(host)s`."
    ),
    "HOST_NUMBER_MISSING": _(
        "The pool %(pool)s is shared, so this host needs a number of its own. Ask an administrator "
        "to set WEBXEN_HOST_NUMBER (1 to %(limit)s)."
    ),
    "HOST_NUMBER_TAKEN": _(
        "Number %(number)s of the pool %(pool)s belongs to %(owner)s. Ask an administrator to give "
        "%(host)s another WEBXEN_HOST_NUMBER."
    ),
    "POOL_IN_USE": _("The host is busy with the pool %(pool)s. Try again in a few minutes."),
    "IMAGE_NOT_USABLE": _(
        "No machine can be created from the image %(image)s: %(error)s. Ask an administrator for "
        "another image."
    ),
    "IMAGE_HOSTILE": _(
        "No machine can be created from this image: %(error)s. Ask an administrator for another image."
    ),
    "FILE_SYSTEM_NOT_MADE": _(
        "No file system could be created from the image (%(program)s: %(error)s). Contact an administrator."
    ),
    "IMAGE_BUILD_BUSY": _("The host is still preparing another image. Try again when that is done."),
    "POOL_NOT_CONFIGURED": _(
        "%(pool)s is in neither WEBXEN_LVM_POOLS nor WEBXEN_FILE_POOLS of this host: add it there first."
    ),
}

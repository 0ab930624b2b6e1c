"""Texts: machines taken back after a restore."""

from webxen.core.messages.marks import gettext_noop as _
from worker.contract.wording import Text

TEXTS: dict[str, Text] = {
    "DATABASE_HAS_MACHINE": _("The database already has this machine."),
    "WAS_BEING_DELETED": _(
        "%(name)s was being deleted on %(host)s at its owner's request. An administrator must check "
        "what is left of it."
    ),
    "NO_RECEIPT": _("No host has a receipt for such a machine."),
    "DOMAIN_ON_ANOTHER_HOST": _("It also has a domain on another host: %(hosts)s. Check there."),
    "RECEIPT_WITHOUT_FILES": _("No host with a receipt for it still has its files or its domain."),
    "RECEIPT_HOST_SILENT": _("%(host)s is not responding; it is not known whether it still has the machine."),
    "RECEIPT_KEY_LOST": _(
        "Its receipt was signed with a key this portal no longer has. Restore portal.key and "
        "portal.key.old from the backup."
    ),
    "PROJECT_NOT_FOUND": _("There is no project %(name)s. Create it, or name another one with --project."),
    "PERSON_NOT_FOUND": _(
        "There is no user %(name)s. Create the account, or name another owner with --owner."
    ),
    "ONLY_STAFF_READOPTS": _("Only administrators can readopt machines."),
    "READOPTED_AS": _("%(project)s, %(owner)s, on %(host)s, %(power)s; order %(number)s"),
}

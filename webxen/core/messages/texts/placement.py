"""Texts: why a machine fits on a host or does not."""

from webxen.core.messages.marks import gettext_noop as _
from webxen.core.messages.marks import ngettext
from worker.contract.wording import Text

TEXTS: dict[str, Text] = {
    "NO_HOSTS": _("No hosts have been added yet."),
    "NO_HOST_HAS_ROOM": _("No host has enough free capacity: %(whys)s."),
    "MORE_HOSTS_FULL": ngettext(
        "%(n)s more host has no capacity either", "%(n)s more hosts have no capacity either"
    ),
    "MORE_HOSTS_CANNOT": ngettext(
        "%(n)s more host cannot take it either.", "%(n)s more hosts cannot take it either."
    ),
    "FITS": _("fits"),
    "FITS_N1": _("fits, and any one host may still fail"),
    "FITS_BREAKS_N1": _("fits, but leaves no spare for a host failure"),
    "HOST_INACTIVE": _("does not accept new machines"),
    "HOST_NO_CONTACT": _("is not responding"),
    "TOO_LITTLE_MEMORY": _("%(free_mib)s of memory free, %(needed_mib)s needed"),
    "TOO_LITTLE_DISK": _("%(free_mib)s of disk space free and not reserved, %(needed_mib)s needed"),
    "TOO_FEW_VCPUS": _("%(free)s vCPUs free, %(needed)s needed"),
    "HOST_LACKS_POOL": _("has no storage pool %(pool)s"),
    "HOST_LACKS_BRIDGE": _("has no bridge %(bridge)s"),
    "HOST_IMAGE_DIFFERS": _("its copy of image %(image)s differs from the registered one"),
    "HOST_HAS_GROUP": _("already runs a machine of group %(group)s"),
    "NO_OTHER_HOST": _("there is no other host"),
}

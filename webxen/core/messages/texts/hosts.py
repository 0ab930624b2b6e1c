"""Texts: hosts joining, keys, networks and addresses."""

from webxen.core.messages.marks import gettext_noop as _
from webxen.core.messages.marks import ngettext
from worker.contract.wording import Text

TEXTS: dict[str, Text] = {
    "BROKER_ADDRESS_MISSING": _(
        "The broker's public address is not set: set WEBXEN_BROKER_PUBLIC_URL, for example %(example)s."
    ),
    "HOST_NAME_RULE": _(
        "Letters, digits, hyphens and dots, at most 63 characters; each part between the dots begins "
        "and ends with a letter or a digit."
    ),
    "HOST_NAME_INVALID": _("This is not a valid host name."),
    "JOIN_REFUSED": _(
        "The host was not admitted: the token is unknown, used or expired, or the signature is "
        "invalid. Ask an administrator for a new token."
    ),
    "HOST_KNOWN": _("%(name)s has already joined. Allow it to join again to issue a new key."),
    "HOST_NOT_WAITING": _("%(name)s is not waiting to be accepted."),
    "HOST_KEY_CHANGED": _("%(name)s now presents a different key. Compare its fingerprint again."),
    "KEY_NOT_ED25519": _("This is not an Ed25519 public key."),
    "KEY_ONE_PEM_BLOCK": _("Exactly one PEM block is expected."),
    "HOST_CHANGED": _("%(name)s has just changed. Reload and try again."),
    "HOST_STATE_WRONG": _("This is not possible in the current state of %(name)s."),
    "NETWORK_BUSY": _("Network %(name)s is busy assigning addresses. Try again in a moment."),
    "NETWORK_FULL": _("Network %(name)s has no free address. Delete a machine or choose another network."),
    "NETWORK_FULL_OF_STRANGERS": ngettext(
        "Network %(name)s has no free address; %(n)s is used on %(hosts)s by a machine this portal "
        "does not manage. Choose another network or ask an administrator.",
        "Network %(name)s has no free address; %(n)s are used on %(hosts)s by machines this portal "
        "does not manage. Choose another network or ask an administrator.",
    ),
    "ADDRESS_HELD": _(
        "%(address)s of network %(network)s, or MAC address %(mac)s, belongs to another machine. "
        "Delete that machine first."
    ),
    "HOST_IN_USE": ngettext(
        "%(n)s machine is on this host. Move or delete it first.",
        "%(n)s machines are on this host. Move or delete them first.",
    ),
    "NO_SUCH_STRANGER": _("%(host)s reports no domain with this UUID that WebXen does not manage."),
    "DATABASE_RESTORED": _(
        "The portal's database was restored from an older backup and has not been checked yet. Until "
        "then no jobs are sent; machines keep running. Contact an administrator."
    ),
}

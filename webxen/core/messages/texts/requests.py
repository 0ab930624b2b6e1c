"""Texts: requests for machines and for quota."""

from webxen.core.messages.marks import gettext_noop as _
from worker.contract.wording import Text

TEXTS: dict[str, Text] = {
    "TOO_MANY_PENDING": _(
        "%(n)s of your requests are pending, and the limit is %(limit)s. Withdraw one, or wait for a "
        "decision."
    ),
    "RAISE_NEEDS_ANOTHER": _("Another administrator must raise the quota for your own request."),
    "SSH_KEYS_NOT_LIST": _("SSH keys must be a list of strings."),
    "SSH_KEYS_TOO_MANY": _("At most %(max_count)s SSH keys."),
    "SSH_KEY_TOO_LONG": _("An SSH key is text of at most %(max_length)s characters."),
    "SSH_KEY_PRIVATE": _(
        "This is a private key. Keep it secret and enter the line of its .pub file instead."
    ),
    "SSH_KEY_PUTTY": _(
        "This key is in PuTTY's format. Enter the line that PuTTYgen shows as “Public key for "
        "pasting into OpenSSH authorized_keys file”."
    ),
    "SSH_KEY_BROKEN_LINES": _("One SSH key per line: this key is broken over several lines."),
    "SSH_KEY_NOT_TEXT": _(
        "The SSH key contains a character that is not text (U+%(character)s). Copy it again."
    ),
    "SSH_KEY_TYPE_UNKNOWN": _("An SSH key starts with its type, without options. Types: %(types)s."),
    "SSH_KEY_DAMAGED": _("This %(type)s key is damaged. Copy the whole line of the .pub file."),
    "PASSWORD_LENGTH": _("The password must have %(min_length)s to %(max_length)s characters."),
    "PASSWORD_CHARACTERS": _("The password may contain only characters that can be typed at a login prompt."),
    "USER_DATA_NOT_TEXT": _("User data must be text."),
    "USER_DATA_TOO_LONG": _("User data is %(bytes)s bytes; the limit is %(limit)s."),
    "NO_SUCH_FIELD": _("There is no such field."),
    "LIMIT_NOT_HIGHER": _("The project already has this. Enter a higher limit."),
    "REQUEST_INVALID": _("The request cannot be accepted with these values."),
    "PROJECT_NOT_YOURS": _("Choose a project you are a member of."),
    "PURPOSE_NEEDED": _(
        "Describe what it is for in 1 to %(max_length)s characters; administrators read this."
    ),
    "DECISION_REASON_NEEDED": _(
        "Give a reason of 1 to %(max_length)s characters; it is shown to the requester."
    ),
    "NUMBER_RANGE": _("Enter a whole number from %(min)s to %(max)s."),
    "NO_SEPARATE_LIMIT": _("Your project has no separate limit for this. Leave it empty."),
    "LIMIT_BELOW_CURRENT": _("The project already has %(current)s. Ask for at least that much."),
    "REQUEST_ALREADY": _("This request is already %(state)s."),
    "ONLY_REQUESTER_WITHDRAWS": _("Only the requester can withdraw a request."),
    "ONLY_REQUESTER_CHANGES": _("Only the requester can change a request."),
    "ONLY_STAFF_DECIDES": _("Only administrators decide on requests."),
    "QUOTA_REQUEST_OPEN": _("You already have a pending request for this project. Change or withdraw it."),
    "DECISION_NEEDS_ANOTHER": _("Another administrator must decide on your own request."),
    "REQUEST_CHANGED": _("The request was changed after you opened it. Reload and check again."),
    "CUSTOM_SIZE_NEEDS_APPROVAL": _("Custom sizes need approval."),
    "PROJECT_HAS_NO_QUOTA": _("This project has no quota. Ask an administrator to set one."),
    "NAME_THE": _("Specify the %(resource)s."),
    "NAME_THE_BY_ID": _("Specify the %(resource)s by its id or short name."),
    "NO_SUCH": _("There is no such %(resource)s."),
    "SIZE_OR_FIGURES": _("Choose a size, or specify vcpus, memory_mib and disk_gib."),
    "IMAGE_NEEDS_MEMORY": _("%(image)s needs at least %(needed_mib)s of memory."),
    "IMAGE_NEEDS_DISK": _("%(image)s needs a disk of at least %(needed_gib)s."),
    "REASON_INVALID": _("The reason must be text of at most %(max_length)s characters."),
    "TYPE_WRONG": _("This must be %(types)s."),
    "PROJECT_NEEDED": _("Specify the project."),
    "NO_PROJECT": _("You are not a member of any project."),
    "NETWORK_NEEDED": _("Specify the network."),
    "SIZE_AND_FIGURES": _("Specify either a size or custom values, not both."),
}

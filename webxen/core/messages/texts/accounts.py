"""Texts: accounts, tokens and signing in."""

from webxen.core.messages.marks import gettext_noop as _
from webxen.core.messages.marks import ngettext
from worker.contract.wording import Text

TEXTS: dict[str, Text] = {
    "TOKEN_NAME_INVALID": _("The token needs a name of 1 to %(max_length)s printable characters."),
    "SCOPE_UNKNOWN": _("There is no scope %(name)s. Scopes: %(scopes)s."),
    "TIME_PASSED": _("This time is in the past."),
    "TOKEN_INVALID": _("The token cannot be created with these values."),
    "TOO_MANY_TOKENS": ngettext(
        "You have %(n)s token, the maximum. Revoke one you do not use.",
        "You have %(n)s tokens, the maximum. Revoke one you do not use.",
    ),
    "TOKEN_SCOPE_WIDER": _("A token created with a token cannot have more scopes than that one."),
    "TOKEN_OUTLIVES": _("A token created with a token cannot expire later than that one."),
    "TOKEN_REVOKED_MEANWHILE": _("The token has been revoked in the meantime."),
    "TOKEN_ADDRESSES_FULL": ngettext(
        "Used from more than %(n)s address; further ones are not recorded.",
        "Used from more than %(n)s addresses; further ones are not recorded.",
    ),
    "SIGN_IN_UNKNOWN_ACCOUNT": _("There is no account with this name."),
    "SIGN_IN_TOO_MANY_FAILURES": _("Too many failed attempts."),
    "SIGN_IN_WRONG_SECOND_FACTOR": _("Wrong second factor."),
}

"""Texts: of every request, and how several messages are put together."""

from webxen.core.messages.marks import gettext_noop as _
from webxen.core.messages.marks import ngettext
from worker.contract.wording import Text

TEXTS: dict[str, Text] = {
    "OF_ONE": _("%(name)s: %(why)s"),
    "ALL_OF": _("%(whys)s"),
    "NOT_FOUND": _("Not found, or you have no access."),
    "HOST_NOT_FOUND": _("There is no host named %(name)s."),
    "DATABASE_AWAY": _("The database is not responding. Check whether the change was made, then try again."),
    "BODY_TOO_LARGE": _("The request body is limited to %(bytes)s bytes."),
    "TOO_MANY_REQUESTS": ngettext(
        "Too many requests. Try again in %(n)s second.", "Too many requests. Try again in %(n)s seconds."
    ),
    "COOKIES_TOO_LARGE": _("The cookies are too large. Delete this site's cookies and sign in again."),
    "BODY_TOO_SLOW": _("The request body did not arrive in time. Send the request again."),
    "BUSY": _("The portal is overloaded; nothing was changed. Try again in a few seconds."),
    "TOO_MANY_WAITING": _(
        "Too many requests are waiting. Leave out `wait`, or try again when others have ended."
    ),
    "FIELDS_INVALID": _("Some fields are invalid."),
    "PERMISSION_DENIED": _("You do not have permission to do this."),
    "REQUEST_MALFORMED": _("The request is malformed."),
}

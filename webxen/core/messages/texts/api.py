"""Texts: requests to the API and the JSON in them."""

from webxen.core.messages.marks import gettext_noop as _
from worker.contract.wording import Text

TEXTS: dict[str, Text] = {
    "TOKEN_READ_ONLY": _("This token has the scope “read” and cannot change anything."),
    "STAFF_ONLY": _("Only administrators can do this."),
    "TOKEN_NOT_VALID": _("The token is unknown, revoked or expired."),
    "LENGTH_MISSING": _("Send the body with its Content-Length."),
    "SEND_NO_BODY": _("Send no body or {}."),
    "SEND_OBJECT": _("Send a JSON object."),
    "NO_SUCH_PARAMETER": _("There is no such parameter."),
    "PARAMETER_TWICE": _("Give this parameter once."),
    "PARAMETERS_INVALID": _("Some parameters are invalid."),
    "NOTHING_HERE": _("There is nothing here. Addresses of the API end with a slash."),
    "CURSOR_FROM_ELSEWHERE": _("Take the address of a page from `next` or `previous`, as it is."),
    "CURSOR_INVALID": _("The cursor is invalid."),
    "KEY_FORMAT": _(
        "%(header)s must have 1 to 255 printable ASCII characters without spaces, for example a UUID."
    ),
    "KEY_REUSED": _("This %(header)s was used for another request: use a new key for a new request."),
    "BODY_NOT_UTF8": _("The body is not UTF-8 text."),
    "JSON_TOO_DEEP": _("The JSON is nested deeper than %(limit)s levels."),
    "JSON_SYNTAX": _("The body is not JSON: %(error)s at line %(line)s, column %(column)s."),
    "JSON_NUMBER_TOO_LONG": _("The JSON contains a number that is too long."),
    "JSON_NUMBER_TOO_LARGE": _("The JSON contains a number that is too large."),
    "JSON_KEY_TWICE": _("The key %(key)s appears twice in one object."),
    "JSON_TOO_MANY_KEYS": _("A JSON object has more than %(limit)s keys."),
    "JSON_CONSTANT": _("%(name)s is not a JSON number."),
    "JSON_TOO_MANY_VALUES": _("The JSON contains more than %(limit)s values."),
    "JSON_LONE_SURROGATE": _("A text contains half a character (a lone surrogate)."),
    "BROKER_PASSWORD_SHORT": _("A broker password has at least %(min_length)s characters."),
    "BODY_TOO_LARGE_HERE": _("The request body is too large."),
}

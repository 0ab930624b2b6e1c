"""Texts: why something was noted in events, the audit and the ledger."""

from webxen.core.messages.marks import gettext_noop as _
from webxen.core.messages.marks import ngettext
from worker.contract.wording import Text

TEXTS: dict[str, Text] = {
    "WHY_MACHINE_DELETED": _("the machine is deleted"),
    "WHY_BOOTED_FROM_COPY": _("it has booted from its copy"),
    "WHY_SEEN_RUNNING": _("seen running"),
    "WHY_SEEN_OFF": _("seen off"),
    "WHY_OFF_AFTER_MOVE": _("off after a move"),
    "WITH_NEW_KEY": _("with a new key"),
    "TOKEN_OF_PERSON": _("of %(name)s; the database was restored"),
    "SESSIONS_ENDED": ngettext(
        "%(n)s session; the database was restored", "%(n)s sessions; the database was restored"
    ),
    "EVENT_ROUTE": _("from %(source)s to %(target)s"),
    "QUOTED": _("“%(text)s”"),
}

"""Texts, colours and icons for stored codes. Pure tables."""

from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from worker import contract


@dataclass(frozen=True)
class Look:
    """How a code is displayed: always with text and icon, never by colour alone."""

    word: str | Promise
    colour: str
    icon: str


POWERS = {
    "RUNNING": Look(_("Running"), "green", "player-play"),
    "PAUSED": Look(_("Paused"), "azure", "player-pause"),
    "SUSPENDED": Look(_("Suspended"), "azure", "moon"),
    "OFF": Look(_("Off"), "secondary", "power"),
    "CRASHED": Look(_("Crashed"), "red", "alert-triangle"),
    "UNKNOWN": Look(_("Unknown"), "yellow", "ghost"),
}

#: before the time, if the present power is not known
LAST_POWERS: dict[str, str | Promise] = {
    "RUNNING": _("last seen running"),
    "PAUSED": _("last seen paused"),
    "SUSPENDED": _("last seen suspended"),
    "OFF": _("last seen off"),
    "CRASHED": _("last seen crashed"),
}

#: READY is missing: then the power is shown
MACHINE_STATES = {
    "PENDING": Look(_("Waiting for capacity"), "yellow", "hourglass"),
    "BUILDING": Look(_("Creating"), "blue", "loader-2"),
    "FAILED": Look(_("Failed"), "red", "circle-x"),
    "DELETING": Look(_("Being deleted"), "orange", "trash"),
    "DELETED": Look(_("Deleted"), "secondary", "trash"),
}

JOB_STATUSES = {
    "PENDING": Look(_("Waiting for capacity"), "yellow", "hourglass"),
    "QUEUED": Look(_("Queued"), "azure", "clock"),
    "RUNNING": Look(pgettext_lazy("job", "Running"), "blue", "loader-2"),
    "SUCCEEDED": Look(_("Done"), "green", "circle-check"),
    "FAILED": Look(_("Failed"), "red", "circle-x"),
    "ERROR": Look(_("Internal error"), "red", "alert-triangle"),
    "CANCELLED": Look(_("Cancelled"), "secondary", "x"),
}

FENCING_PHASES = {
    "ASKED": Look(pgettext_lazy("fence", "Requested"), "azure", "clock"),
    "RUNNING": Look(pgettext_lazy("fence", "Being switched off"), "blue", "loader-2"),
    "OFF": Look(pgettext_lazy("fence", "Confirmed off"), "green", "power"),
    "FAILED": Look(pgettext_lazy("fence", "Not confirmed off"), "red", "circle-x"),
}

DAYS = (
    pgettext_lazy("day", "Mon"),
    pgettext_lazy("day", "Tue"),
    pgettext_lazy("day", "Wed"),
    pgettext_lazy("day", "Thu"),
    pgettext_lazy("day", "Fri"),
    pgettext_lazy("day", "Sat"),
    pgettext_lazy("day", "Sun"),
)
#: who acted if it was no user
POLICIES = {"BALANCE": _("balance policy"), "COMMAND_LINE": _("command line")}

JOB_KINDS: dict[str, str | Promise] = {
    "CREATE": pgettext_lazy("job kind", "Create"),
    "START": pgettext_lazy("job kind", "Start"),
    "SHUTDOWN": pgettext_lazy("job kind", "Shut down"),
    "POWEROFF": pgettext_lazy("job kind", "Power off"),
    "REBOOT": pgettext_lazy("job kind", "Reboot"),
    "DELETE": pgettext_lazy("job kind", "Delete"),
    "MIGRATE": pgettext_lazy("job kind", "Move"),
}

REQUEST_STATUSES = {
    "PENDING": Look(_("Waiting for approval"), "yellow", "hourglass"),
    "APPROVED": Look(_("Approved"), "green", "circle-check"),
    "REJECTED": Look(_("Rejected"), "red", "thumb-down"),
    "WITHDRAWN": Look(_("Withdrawn"), "secondary", "x"),
}

HOST_STATES = {
    "ACTIVE": Look(_("Active"), "green", "circle-check"),
    "DRAINING": Look(_("Draining"), "orange", "logout"),
    "NEW": Look(_("Not accepted yet"), "yellow", "message-question"),
    "SILENT": Look(_("No contact"), "red", "wifi-off"),
}

SEVERITIES = {
    "CRITICAL": Look(_("Critical"), "red", "skull"),
    "ERROR": Look(_("Error"), "red", "circle-x"),
    "WARNING": Look(_("Warning"), "yellow", "alert-triangle"),
    "UNSEEN": Look(_("Not checked"), "secondary", "ghost"),
}

STEPS: dict[str, str | Promise] = {
    "TEMPLATE": _("Template"),
    "DISK": _("Disk"),
    "SEED": _("Keys & network"),
    "CONFIG": _("Configuration"),
    "DOMAIN": _("Domain"),
    "KERNEL": _("Kernel"),
    "INIT": _("Boot services"),
    "LOGIN": pgettext_lazy("step", "Login prompt"),
    "SHUTDOWN": _("Shutdown requested"),
    "REBOOT": _("Reboot requested"),
    "GONE": _("Powered off"),
    "CHECK": _("Checks"),
    "LISTENING": _("Target ready"),
    "CONNECT": _("Connected"),
    "STREAM": _("Data"),
    "READY": _("All copied"),
    "GO": _("Switched over"),
    "REPORTED": _("Running there"),
    "SETTLE": _("Cleaning up"),
    "CLEANING": _("Cleaning up"),
    "ACCEPT": _("Order checked"),
    "LISTEN": _("Target ready"),
}

MOVE_PHASES = {
    "WAITING": Look(_("Waiting in queue"), "yellow", "hourglass"),
    "PREPARING": Look(_("Target is preparing"), "azure", "loader-2"),
    "MOVING": Look(_("Moving"), "blue", "arrow-right"),
    "SETTLING": Look(_("Cleaning up"), "blue", "loader-2"),
    "UNKNOWN": Look(_("Unknown"), "red", "alert-triangle"),
    "ENDED": Look(_("Finished"), "secondary", "check"),
}

STEP_PROGRESS = {
    "WAITING": Look(_("Waiting in queue"), "yellow", "hourglass"),
    "MOVING": Look(_("Moving"), "blue", "arrow-right"),
    "MOVED": Look(_("Moved"), "green", "circle-check"),
    "FAILED": Look(_("Failed"), "red", "circle-x"),
    "CANNOT": Look(_("Cannot move"), "red", "hand-stop"),
    "GONE": Look(_("No longer here"), "secondary", "x"),
}

MOVE_METHODS: dict[str, str | Promise] = {
    "LIVE": _("while it runs"),
    "SUSPENDED": _("suspended"),
    "COLD": pgettext_lazy("move", "switched off"),
}

#: what one host knows of the GO, after which the target runs the machine
GO_WORDS: dict[str, str | Promise] = {
    "NEVER": _("not confirmed, and cannot be any more"),
    "PASSED": _("confirmed"),
    "OPEN": _("may still be confirmed"),
}

COPY_WORDS: dict[str, str | Promise] = {
    "RUNS": _("runs here"),
    "STILL": _("is paused here"),
    "NONE": _("is not here"),
    "UNSEEN": _("cannot be seen"),
}


@dataclass(frozen=True)
class Button:
    """The button of an action on a machine."""

    action: str
    word: str | Promise
    icon: str
    style: str = ""
    #: confirmation question; empty: none
    question: str | Promise = ""


#: actions of `contract.ACTIONS`; the contract decides how each asks for confirmation
_BUTTONS = (
    Button("start", _("Start"), "player-play", "btn-primary"),
    Button("shutdown", _("Shut down"), "power", question=_("Ask the machine to shut down?")),
    Button("reboot", _("Reboot"), "reload", question=_("Reboot the machine now?")),
    Button(
        "poweroff",
        _("Power off"),
        "plug-off",
        "btn-outline-danger",
        _("Power off now? Unsaved data will be lost."),
    ),
)
_BY_ACTION = {button.action: button for button in _BUTTONS}
#: in the order of the contract's verbs
BUTTONS = tuple(_BY_ACTION[action] for action in contract.ACTIONS if action in _BY_ACTION)

UNKNOWN = Look(_("Unknown"), "secondary", "ghost")

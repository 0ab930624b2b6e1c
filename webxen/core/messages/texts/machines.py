"""Texts: what may be done with a machine, and its names."""

from webxen.core.messages.marks import gettext_noop as _
from worker.contract.wording import Text

TEXTS: dict[str, Text] = {
    "MACHINE_IS_DELETED": _("The machine is deleted."),
    "MACHINE_DELETED": _("%(name)s is deleted."),
    "MACHINE_IS_STATE": _("The machine is %(state)s."),
    "MACHINE_HAS_NO_HOST": _("The machine has no host yet."),
    "POWER_NOT_REPORTED": _("The host has not reported whether it is running."),
    "ONLY_STAFF_MOVES": _("Only administrators can move machines."),
    "JOB_IN_PROGRESS": _("A job is in progress: %(job)s. Wait until it finishes."),
    "STATE_FORBIDS": _("This is not possible while %(name)s is %(state)s."),
    "NOT_POSSIBLE_NOW": _("%(name)s: this is not possible now: %(job)s."),
    "MACHINE_JOB_OPEN": _("A job is in progress for %(name)s: %(job)s. Wait until it finishes."),
    "MACHINE_BUSY": _("A job is in progress for %(name)s. Wait until it finishes."),
    "MACHINE_CHANGED": _("%(name)s was changed by someone else a moment ago. Reload and try again."),
    "MACHINE_JUST_PLACED": _("%(name)s has just been assigned a host. Reload and try again."),
    "NO_CONSOLE": _("The machine has no console yet because it has no host. Wait until it is being created."),
    "NAME_NOT_TEXT": _("The name must be text."),
    "NAME_LENGTH": _("The name must have 1 to %(max_length)s characters."),
    "NAME_CHARACTERS": _("Use only a-z, 0-9 and hyphens; start and end with a letter or digit."),
    "NAME_IS_NUMBER": _("The name must not be a number."),
    "NAME_DOUBLE_HYPHEN": _("The name must not contain two hyphens in a row."),
    "NAME_RESERVED": _("The name %(name)s is reserved by Xen."),
    "NAME_TAKEN_IN_PROJECT": _("%(project)s already has a machine named %(name)s. Choose another name."),
    "NAME_TAKEN_BY_REQUEST": _(
        "A request for a machine named %(name)s is already pending in %(project)s. Choose another name."
    ),
    "DESCRIPTION_INVALID": _("The description must be text of at most %(max_length)s characters."),
    "TAGS_INVALID": _("At most %(max_count)s tags of 1 to %(max_length)s printable characters each."),
    "ALREADY_RUNNING": _("%(name)s is already running."),
    "ALREADY_OFF": _("%(name)s is already off."),
    "IMAGE_NOT_REGISTERED": _("There is no image %(name)s. Register it first."),
    "NETWORK_NOT_REGISTERED": _("There is no network %(name)s. Create it first."),
}

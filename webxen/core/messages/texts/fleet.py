"""Texts: draining, balancing, fencing and restarting on other hosts."""

from webxen.core.messages.marks import gettext_noop as _
from webxen.core.messages.marks import ngettext
from worker.contract.wording import Text

TEXTS: dict[str, Text] = {
    "OFF_STAYS": _("The machine is off: it stays here unless machines that are off are moved as well."),
    "JOB_OPEN_PLAN_AGAIN": _("A job is in progress: %(job)s. Wait until it finishes, then plan again."),
    "HOST_NOT_ACCEPTED": _("This host has not been accepted."),
    "OTHERS_TAKE_ITS_MEMORY": _("Its memory is needed for the other machines."),
    "NOTHING_TO_BRING_BACK": _("No machine that was moved away from %(host)s is on another host now."),
    "PROPOSALS_OUTDATED": _("None of these moves is proposed any more. Reload the proposals."),
    "NO_LONGER_HERE": _("The machine is no longer on this host."),
    "COULD_NOT_START": _("It could not be started at once."),
    "HOST_DRAINING": _("%(host)s is being drained."),
    "HOST_SILENT_NOW": _("%(host)s is not responding."),
    "MOVES_IN_PROGRESS": _("Earlier moves are still in progress."),
    "POWER_UNKNOWN": _("It is not known whether %(name)s is running."),
    "PLACE_UNKNOWN": _("It is not known where %(name)s is."),
    "HOST_NOT_SILENT": _("%(host)s was in contact a moment ago. Move its machines instead."),
    "WAS_BEING_MOVED": _("It was being moved. Resolve that move first."),
    "JOB_OPEN_CHECK_AGAIN": _("A job is in progress (%(job)s). Check again when it has finished."),
    "ELSEWHERE_TAKES_NO_MACHINES": _("does not accept machines now."),
    "ELSEWHERE_NO_CONTACT": _("is not responding either."),
    "ELSEWHERE_LACKS_POOL": _("does not see the pool %(pools)s."),
    "ELSEWHERE_LACKS_BRIDGE": _("has no bridge %(bridges)s."),
    "ELSEWHERE_MAY_HAVE_DOMAIN": _("may already have a domain with this id."),
    "HOST_IS_OFF_PHRASE": _("%(host)s is off"),
    "TYPE_EXACTLY": _("Type exactly: %(phrase)s"),
    "NONE_CAN_START_ELSEWHERE": _("No machine of %(host)s can start on another host now."),
    "NOT_PROVEN_OFF": _("%(name)s has not just confirmed that %(host)s is off."),
    "STARTED_ELSEWHERE": ngettext(
        "%(proof)s: %(n)s machine is started on another host",
        "%(proof)s: %(n)s machines are started on other hosts",
    ),
    "STEPS_OF_MACHINES": _("%(done)s of %(all)s machines"),
    "NO_FENCE_AGENT": _("No fence agent is configured for %(host)s: it is not in the fence file."),
    "FENCING_OPEN": _("%(host)s is already being switched off."),
    "FENCE_PORTAL_STOPPED": _("The portal was stopped meanwhile, so it is not known what the agent did."),
    "FENCE_PROCESS_AWAY": _("The portal's reports process was not running, so the agent was not called."),
    "FENCE_AGENT_CHANGED": _("%(agent)s is no longer the agent of this host."),
    "FENCE_AGENT_MISSING": _("%(agent)s is not installed on the portal's machine."),
    "FENCE_AGENT_BROKEN": _("%(agent)s cannot be started on the portal's machine."),
    "FENCE_AGENT_SLOW": _("%(agent)s did not finish within %(limit_seconds)s and was stopped."),
    "FENCE_OFF_FAILED": _("%(agent)s exited with %(exit_code)s when asked to switch the host off."),
    "FENCE_STILL_ON": _("%(agent)s reports that the host is still on."),
    "FENCE_STATUS_UNCLEAR": _(
        "%(agent)s exited with %(exit_code)s when asked for the power status, which does not confirm "
        "that the host is off."
    ),
    "FENCE_ANSWERS": _("%(agent)s exited with %(off_exit)s for “off” and %(status_exit)s for “status”."),
}

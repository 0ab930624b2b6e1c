"""Texts: quotas and their ledger."""

from webxen.core.messages.marks import gettext_noop as _
from webxen.core.messages.marks import ngettext
from worker.contract.wording import Text

TEXTS: dict[str, Text] = {
    "RESERVATION_MISSING": _(
        "This machine has no reservation in its project's quota. Contact an administrator."
    ),
    "QUOTA_JUST_FULL": _("The quota was used up a moment ago. Try again."),
    "ONLY_STAFF_SETS_QUOTA": _("Only administrators can set a quota."),
    "ONLY_STAFF_RAISES_QUOTA": _("Only administrators can raise a quota."),
    "ONLY_STAFF_SETTLES_QUOTA": _("Only administrators can correct the quota ledger."),
    "OVER_MACHINES": ngettext(
        "%(n)s machine over quota: %(used)s of %(limit)s used",
        "%(n)s machines over quota: %(used)s of %(limit)s used",
    ),
    "OVER_VCPUS": ngettext(
        "%(n)s vCPU over quota: %(used)s of %(limit)s used",
        "%(n)s vCPUs over quota: %(used)s of %(limit)s used",
    ),
    "OVER_RUNNING_VCPUS": ngettext(
        "%(n)s running vCPU over quota: %(used)s of %(limit)s in use",
        "%(n)s running vCPUs over quota: %(used)s of %(limit)s in use",
    ),
    "OVER_MEMORY": _("%(over_mib)s of memory over quota: %(used_mib)s of %(limit_mib)s used"),
    "OVER_DISK": _("%(over_gib)s of disk over quota: %(used_gib)s of %(limit_gib)s used"),
    "OVER_RUNNING_MEMORY": _(
        "%(over_mib)s of running memory over quota: %(used_mib)s of %(limit_mib)s in use"
    ),
    "QUOTA_WHOLE": _("machines: %(machines)s, vCPUs: %(vcpus)s, memory: %(memory_mib)s, disk: %(disk_gib)s"),
    "QUOTA_WHOLE_RUNNING_VCPUS": _("running vCPUs: %(vcpus)s"),
    "QUOTA_WHOLE_RUNNING_MEMORY": _("running memory: %(memory_mib)s"),
    "DRIFT_MACHINE_HOLDS_NOTHING": _("%(name)s exists but has no reservation in its project's quota."),
    "DRIFT_RESERVATIONS": _(
        "The quota of %(project)s counts %(counted)s; its reservations add up to %(recorded)s."
    ),
    "DRIFT_ENTRIES": _("The quota of %(project)s counts %(counted)s; its ledger adds up to %(recorded)s."),
    "DRIFT_NO_MACHINE": _("%(held)s are reserved for %(id)s, but there is no such machine."),
    "DRIFT_FIGURES": _("%(name)s has %(actual)s; reserved for it: %(held)s."),
    "DRIFT_RUNS_UNCOUNTED": _("%(name)s is running but not counted as running."),
    "DRIFT_OFF_COUNTED": _("%(name)s is off but counted as running."),
    "FIGURE_MACHINES": _("%(count)s machines"),
    "FIGURE_VCPUS": _("%(count)s vCPUs"),
    "FIGURE_MEMORY": _("%(size_mib)s of memory"),
    "FIGURE_DISK": _("%(size_gib)s of disk"),
    "FIGURE_RUNNING_VCPUS": _("%(count)s running vCPUs"),
    "FIGURE_RUNNING_MEMORY": _("%(size_mib)s of running memory"),
}

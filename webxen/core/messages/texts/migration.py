"""Texts: moving one machine."""

from webxen.core.messages.marks import gettext_noop as _
from webxen.core.messages.marks import ngettext
from worker.contract.wording import Text

TEXTS: dict[str, Text] = {
    "DISKS_ON_ONE_HOST": _(
        "Its disks are in pool %(pools)s of %(host)s only. It can move only while switched off, and "
        "the disks are copied."
    ),
    "DISKS_ARE_CACHED_FILES": _(
        "Its disks are files in pool %(pools)s, which each host caches in its own memory. It can "
        "move only while switched off."
    ),
    "LACKS_KERNELS": _("It has no kernel %(kernels)s."),
    "OLD_DISKS_THERE": _(
        "It still has the machine's disks from an earlier move. Delete the old disks first."
    ),
    "POOL_TOO_SMALL": _("%(free_mib)s free and not reserved in its pool %(pool)s, %(needed_mib)s needed."),
    "WOULD_BE_OFF": _("The machine would be off for about %(away_seconds)s."),
    "CHOOSE_SWITCHED_OFF": _(
        "%(name)s would be off for about %(away_seconds)s. If that is acceptable, choose “Switched "
        "off” (method cold)."
    ),
    "MOVES_OFF_AS_IT_IS": _("The machine is off, so it is moved switched off."),
    "ONLY_STAFF_DELETES_OLD_DISKS": _("Only administrators can delete old disks."),
    "NO_OLD_DISKS": _("No host has old disks from this move."),
    "ON_THIS_HOST_ALREADY": _("The machine is already on this host."),
    "TAKES_NO_MACHINES": _("It does not accept machines now."),
    "TARGET_NO_CONTACT": _("It is not responding."),
    "SOURCE_NO_CONTACT": _("%(host)s, where the machine is, is not responding."),
    "TARGET_HAS_NO_RELAY": _("It reports no migration relay."),
    "SOURCE_HAS_NO_RELAY": _("%(host)s reports no migration relay."),
    "TARGET_MEMORY": _("%(free_mib)s of memory free, %(needed_mib)s needed."),
    "LACKS_BRIDGES": _("It has no bridge %(bridges)s."),
    "LACKS_POOL": _("It has no storage pool %(pool)s."),
    "DOMAINS_NOT_READ": _("It could not read its list of domains."),
    "DOMAIN_THERE_ALREADY": _("It already has a domain with this name or id. Find out what it is."),
    "CANNOT_RUN_TYPE": _("It cannot run %(type)s machines (no %(missing)s)."),
    "ARCHITECTURE_DIFFERS": _("It is %(there)s, %(host)s is %(here)s."),
    "CPU_LACKS": ngettext(
        "Its processor lacks %(n)s feature of %(host)s (%(features)s).",
        "Its processor lacks %(n)s features of %(host)s (%(features)s).",
    ),
    "CPU_LACKS_RESTART_HELPS": ngettext(
        "Its processor lacks %(n)s feature of %(host)s (%(features)s). Shut the machine down and "
        "start it: it then uses only what all hosts support.",
        "Its processor lacks %(n)s features of %(host)s (%(features)s). Shut the machine down and "
        "start it: it then uses only what all hosts support.",
    ),
    "CPU_FEATURES_UNKNOWN": _("Processor features not reported by: %(hosts)s."),
    "XEN_OLDER": _(
        "Its Xen %(there)s is older than %(here)s of %(host)s; Xen reads only its own and older formats."
    ),
    "XEN_NEWER": _("Its Xen %(there)s is newer than %(here)s of %(host)s; the machine could not move back."),
    "CPU_HAS_MORE": ngettext(
        "Its processor has %(n)s feature that %(host)s lacks; once restarted there, the machine "
        "could not move back.",
        "Its processor has %(n)s features that %(host)s lacks; once restarted there, the machine "
        "could not move back.",
    ),
    "PV_IS_SUSPENDED": _(
        "A PV machine cannot move while it runs: this Xen has no shadow paging. It is suspended, "
        "transferred and resumed."
    ),
    "METHOD_UNKNOWN": _("The method must be one of: %(methods)s."),
    "MEMORY_JUST_TAKEN": _("%(host)s has just reserved its memory for another machine."),
    "NO_OTHER_HOST_NAMED": _("There is no other host named %(name)s."),
    "NO_HOST_CAN_TAKE": _("No host can take the machine. %(whys)s"),
    "HOST_CANNOT_TAKE": _("%(host)s cannot take %(name)s. %(whys)s"),
    "NO_OTHER_HOST_THERE": _("There is no other host."),
    "ONLY_STAFF_RESOLVES_MOVES": _("Only administrators can resolve moves."),
    "MACHINE_STAYED": _("%(name)s stayed on %(host)s."),
    "MOVE_WAITS_FOR_CONTACT": _("Not responding: %(hosts)s. The move starts when contact is restored."),
    "HOST_IS_SENDING": ngettext(
        "%(host)s is already sending another machine (limit: %(n)s at a time).",
        "%(host)s is already sending other machines (limit: %(n)s at a time).",
    ),
    "HOST_IS_RECEIVING": ngettext(
        "%(host)s is already receiving another machine (limit: %(n)s at a time).",
        "%(host)s is already receiving other machines (limit: %(n)s at a time).",
    ),
    "CANCELLED_BEFORE_START": _("Cancelled before it started."),
    "VERDICT_RUNS_ON_BOTH": _("It is running on both hosts. Cut the power of one of them at once."),
    "VERDICT_GO_CONTRADICTED": _("The target reports a switch-over that the source never confirmed."),
    "VERDICT_STARTED_BY_HAND": _("It is running on the target without a switch-over: someone started it."),
    "VERDICT_MOVED": _("It is running on the target after the switch-over."),
    "VERDICT_SOURCE_UNSEEN": _("The source cannot be seen."),
    "VERDICT_NEVER_LEFT_RUNS": _("The source never confirmed the switch-over, and the machine runs there."),
    "VERDICT_NEVER_LEFT_RESUMED": _(
        "The source never confirmed the switch-over: the machine is resumed there."
    ),
    "VERDICT_NEVER_LEFT_OFF": _("The source never confirmed the switch-over: the machine is off there."),
    "VERDICT_NEVER_CAME_RUNS": _(
        "The switch-over never reached the target, and the machine runs on the source."
    ),
    "VERDICT_NEVER_CAME_RESUMED": _(
        "The switch-over never reached the target: the machine is resumed on the source."
    ),
    "VERDICT_NEVER_CAME_OFF": _(
        "The switch-over never reached the target: the machine is off on the source."
    ),
    "VERDICT_TARGET_UNSEEN": _("The target cannot be seen, and the switch-over may have reached it."),
    "VERDICT_GO_MAY_COME": _("The switch-over may still reach the target."),
    "VERDICT_SOURCE_SILENT": _("The source has not reported how the move ended there."),
    "VERDICT_TARGET_FAILED": _("The target could not start it and reported so: it runs on the source again."),
    "VERDICT_START_ON_TARGET": _(
        "The target has the whole machine after the switch-over and has not started it yet: it is "
        "started there."
    ),
    "VERDICT_OFF_ON_TARGET": _("After the switch-over the machine is off on the target."),
    "VERDICT_MAY_HAVE_RUN": _(
        "After the switch-over the target has no domain now: the machine may have run there and "
        "changed its disks."
    ),
    "VERDICT_NO_RULE": _("No rule covers what was observed."),
}

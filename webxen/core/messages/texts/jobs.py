"""Texts: jobs, their events, and the message broker."""

from webxen.core.messages.marks import gettext_noop as _
from worker.contract.wording import Text

TEXTS: dict[str, Text] = {
    "BROKER_AWAY": _("The message broker is unavailable. The job is sent as soon as it is back."),
    "CANCEL_NOT_SENT": _(
        "The message broker has not accepted the cancellation, so the host may still start the job. "
        "It is sent as soon as the broker accepts it."
    ),
    "BROKER_BUSY": _(
        "The message broker is busy running a script. The job is sent as soon as the script ends."
    ),
    "BROKER_OUT_OF_MEMORY": _(
        "The message broker is out of memory and needs an administrator. The job is sent as soon as "
        "there is room."
    ),
    "BROKER_DISK_FAILS": _(
        "The message broker cannot write to its disk and needs an administrator. The job is sent as "
        "soon as it can."
    ),
    "BROKER_STARTING": _("The message broker is starting. The job is sent as soon as it is ready."),
    "BROKER_READ_ONLY": _(
        "The message broker is read-only and needs an administrator. The job is sent as soon as it "
        "accepts writes."
    ),
    "BROKER_TOO_MANY_CONNECTIONS": _(
        "The message broker has too many connections and needs an administrator. The job is sent "
        "when one is free."
    ),
    "BROKER_REFUSES_ACCOUNT": _(
        "The message broker rejects the portal's account; an administrator must fix it. The job is "
        "sent after that."
    ),
    "BROKER_REFUSES_ORDER": _(
        "The message broker rejected the job; the reason is in the portal's log. The job is sent again."
    ),
    "SIGNING_KEY_UNUSABLE": _(
        "The portal's signing key cannot be used; an administrator must fix it. The job is sent after that."
    ),
    "HOST_KEY_NOT_ACCEPTED": _(
        "The host has a new key that no administrator has accepted yet. The job is sent after that."
    ),
    "CANCELLING": _("Cancelling: the host stops at the next safe point."),
    "POOL_JUST_TAKEN": _("%(host)s has just reserved the space in its pool %(pool)s for another machine."),
    "REPORTED_LATE": _("The host reported this after the job had been given up."),
    "JOB_CHANGED": _("The job has just changed. Reload and try again."),
    "JOB_ENDED": _("The job has already ended (%(end)s)."),
    "JOB_NOT_INTERRUPTIBLE": _("Once started, this job cannot be interrupted safely: %(job)s."),
    "MOVE_OVER": _("The move has ended; cleaning up is in progress."),
    "SWITCH_OVER_BEGUN": _("The switch-over to %(host)s has begun and cannot be cancelled."),
    "NO_ANSWER_UNKNOWN_START": _("%(host)s did not answer; it is not known whether it started this job."),
    "NO_ANSWER_UNKNOWN_END": _("%(host)s accepted this job and did not report how it ended."),
    "OUTCOME_UNKNOWN": _("Its outcome is not known; an administrator must check the host."),
    "EVENT_HAD_NO_HOST": _("no host had been chosen yet"),
    "EVENT_ON_HOST": _("on %(host)s"),
    "EVENT_BY": _("by %(name)s"),
    "EVENT_ROUTE_METHOD": _("from %(source)s to %(target)s, %(method)s"),
    "EVENT_TO_HOST": _("to %(host)s"),
    "EVENT_ORDER_TO_HOST": _("%(order)s, to %(host)s"),
    "EVENT_OF_HOST": _("%(host)s"),
    "EVENT_HOST_OFF": _("%(host)s is off, confirmed by %(name)s"),
    "EVENT_RESTORED": _("the database was restored"),
    "WHY_HOST_CARRIED_OUT": _("its host carried out the job: %(job)s"),
    "WHY_DELETE_DID_NOTHING": _("deleting changed nothing"),
    "WHY_MADE_LATE": _("its host reported later that it was created"),
    "WHY_SHOWN_RUNNING": _("its host reports that it is running"),
    "WHY_JOB": _("job %(id)s"),
    "WHY_READOPTED": _("readopted after the database was restored"),
}

"""Words for stored codes within a sentence: parameter → code → (context, word)."""

from collections.abc import Mapping

from webxen.core.messages.marks import pgettext
from worker.contract.wording import Word

#: a job as it is named in a sentence
JOBS: dict[str, Word] = {
    "CREATE": pgettext("open job", "create"),
    "START": pgettext("open job", "start"),
    "SHUTDOWN": pgettext("open job", "shutdown"),
    "POWEROFF": pgettext("open job", "poweroff"),
    "REBOOT": pgettext("open job", "reboot"),
    "DELETE": pgettext("open job", "delete"),
    "MIGRATE": pgettext("open job", "migrate"),
}
#: a machine or a request “is …”
STATES: dict[str, Word] = {
    "PENDING": pgettext("it is", "pending"),
    "BUILDING": pgettext("it is", "building"),
    "READY": pgettext("it is", "ready"),
    "FAILED": pgettext("it is", "failed"),
    "DELETING": pgettext("it is", "deleting"),
    "DELETED": pgettext("it is", "deleted"),
    "RUNNING": pgettext("it is", "running"),
    "PAUSED": pgettext("it is", "paused"),
    "SUSPENDED": pgettext("it is", "suspended"),
    "OFF": pgettext("it is", "off"),
    "CRASHED": pgettext("it is", "crashed"),
    "UNKNOWN": pgettext("it is", "unknown"),
    "APPROVED": pgettext("it is", "approved"),
    "REJECTED": pgettext("it is", "rejected"),
    "WITHDRAWN": pgettext("it is", "withdrawn"),
}
#: a domain, which in some languages is of another gender than a machine
POWERS: dict[str, Word] = {
    "RUNNING": pgettext("domain", "running"),
    "PAUSED": pgettext("domain", "paused"),
    "SUSPENDED": pgettext("domain", "suspended"),
    "OFF": pgettext("domain", "off"),
    "CRASHED": pgettext("domain", "crashed"),
    "UNKNOWN": pgettext("domain", "unknown"),
}
ENDS: dict[str, Word] = {
    "SUCCEEDED": pgettext("job ended", "succeeded"),
    "FAILED": pgettext("job ended", "failed"),
    "CANCELLED": pgettext("job ended", "cancelled"),
}
METHODS: dict[str, Word] = {
    "LIVE": pgettext("move", "while it runs"),
    "SUSPENDED": pgettext("move", "suspended"),
    "COLD": pgettext("move", "switched off"),
}
#: what a request names
RESOURCES: dict[str, Word] = {
    "image": pgettext("name the", "image"),
    "size": pgettext("name the", "size"),
    "network": pgettext("name the", "network"),
    "project": pgettext("name the", "project"),
}
#: orders of a move, to its two hosts
ORDERS: dict[str, Word] = {
    "RECEIVE": pgettext("order", "receive"),
    "MIGRATE": pgettext("order", "send"),
    "SETTLE_MOVE": pgettext("order", "clean up"),
}
WORDS: Mapping[str, Mapping[str, Word]] = {
    "job": JOBS,
    "state": STATES,
    "recorded": STATES,
    "power": POWERS,
    "end": ENDS,
    "method": METHODS,
    "resource": RESOURCES,
    "order": ORDERS,
}

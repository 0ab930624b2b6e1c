"""The catalogue: code → English text, one file a subject, with those that hosts say. Its codes are stable.

A new text stands here once, and its translation in webxen/locale. A test names what is missing.
"""

from collections.abc import Mapping

from webxen.core.messages.texts import (
    accounts,
    api,
    cures,
    events,
    fleet,
    hosts,
    http,
    jobs,
    machines,
    migration,
    placement,
    quota,
    readopting,
    requests,
    verify,
)
from webxen.core.messages.texts.words import WORDS
from worker.contract.texts import TEXTS as OF_HOSTS
from worker.contract.wording import Text

SUBJECTS: Mapping[str, Mapping[str, Text]] = {
    "http": http.TEXTS,
    "accounts": accounts.TEXTS,
    "hosts": hosts.TEXTS,
    "placement": placement.TEXTS,
    "quota": quota.TEXTS,
    "machines": machines.TEXTS,
    "requests": requests.TEXTS,
    "jobs": jobs.TEXTS,
    "migration": migration.TEXTS,
    "fleet": fleet.TEXTS,
    "readopting": readopting.TEXTS,
    "verify": verify.TEXTS,
    "cures": cures.TEXTS,
    "events": events.TEXTS,
    "api": api.TEXTS,
    "hosts' own": OF_HOSTS,
}
TEXTS: Mapping[str, Text] = {code: text for texts in SUBJECTS.values() for code, text in texts.items()}

__all__ = ["OF_HOSTS", "SUBJECTS", "TEXTS", "WORDS"]

"""Every text a host may say, in English: code → text. A portal holds the same texts in other languages."""

from collections.abc import Mapping

from worker.contract.texts import disks, kinds, machines, migration
from worker.contract.wording import English, Text

TEXTS: Mapping[str, Text] = {**kinds.TEXTS, **machines.TEXTS, **disks.TEXTS, **migration.TEXTS}
ENGLISH = English(TEXTS, {})

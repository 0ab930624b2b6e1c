"""Run work after a transaction has committed; a failure of that work does not affect the transaction.

This module holds the only call of Django's `on_commit`. The request has already succeeded by then, so an
exception is logged and not returned to the client; the caller needs another way to repeat the work later.
"""

import logging
from collections.abc import Callable

from django.db import transaction

log = logging.getLogger(__name__)


def run(act: Callable[[], object], *, about: str) -> None:
    """Call `act` after the outermost transaction commits, or at once outside of a transaction. Never raises.

    `about` describes the work in the log line of a failure.
    """

    def act_and_log() -> None:
        try:
            act()
        except Exception:  # the transaction is committed: an error here must not turn its answer into a 500
            log.exception("%s: failed after the commit", about)

    # a plain function: Django names it in its own log, which a functools.partial cannot be
    transaction.on_commit(act_and_log, robust=True)
